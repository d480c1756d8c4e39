"""Convert a dataset into shards for training, or describe a shard set (--inspect)."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from ier_ray import storage
from ier_ray.cluster.ingest import ingest
from ier_ray.cluster.job import run_job
from ier_ray.config import Location, Locations, Settings
from ier_ray.data.inspection import as_text, contact_sheet, inspect_shards
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain
from ier_ray.data.scheme_files import open_scheme
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import SOURCES, CombinedSource, Source, SyntheticSource, open_source

NAMES = ("auto", "synthetic", *SOURCES)


class IngestSettings(Settings):
    """What to ingest, and where to write."""

    flat: ClassVar[tuple[str, ...]] = ("layout",)

    source: str = "auto"
    """Dataset: auto (known by its files), synthetic (drawn), emotic, ck_plus, jaffe, ferg, raf_db,
    affectnet, fer13, fi, artphoto, iapsa, table (CSV or Parquet of path or bytes, label),
    hugging_face (Parquet files) or folder (by label)."""
    path: Locations = Field(default_factory=list)
    """Folder of the dataset as downloaded, or s3:// URI; several, also of one dataset, are combined
    into one set."""
    domain: Domain | None = None
    """fer or ier: needed by table, hugging_face and folder, known for the others."""
    output: Location | None = None
    """Directory or s3:// URI [data/<source>]; each domain becomes a shard set <output>/<domain>."""
    scheme: Location = "four"
    """Label scheme: four (happy, sad, hate, anger), seven (Ekman's and neutral), mikels8, polarity
    (positive, negative), or a YAML file: name, classes, and merges of labels into classes."""
    samples: int = Field(2000, ge=1)
    """Synthetic drawings per domain."""
    size: int = Field(64, ge=32, le=1024)
    """Side of a synthetic drawing in pixels."""
    inspect: Location | None = None
    """Shard set to describe instead: counts by class, fold and dataset, sizes, quarantine."""
    sheet: Location | None = None
    """PNG file for a contact sheet; with inspect only."""
    layout: LayoutSettings = LayoutSettings()

    @field_validator("source")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NAMES:
            raise ValueError(f"must be one of {', '.join(NAMES)}")
        return name

    @model_validator(mode="after")
    def _something_to_do(self) -> IngestSettings:
        if self.inspect is None and self.source != "synthetic" and not self.path:
            raise ValueError("path is required: the dataset's folder (or --source synthetic)")
        if self.sheet is not None and self.inspect is None:
            raise ValueError(
                f"sheet ({self.sheet}) is drawn of a shard set: name it with --inspect"
            )
        return self


def main(settings: IngestSettings) -> dict[str, Any]:
    if settings.inspect is not None:
        return inspect(settings.inspect, settings.sheet)
    scheme = open_scheme(settings.scheme)
    source = open_settings(settings)
    output = storage.absolute(settings.output or f"data/{source.name}")
    record: dict[str, Any] = {}
    for domain in source.domains:
        location = storage.join(output, domain)
        report = ingest(source, domain, location, scheme=scheme, layout=settings.layout)
        record[domain] = {
            "location": report.location,
            "listed": report.manifest.listed,
            "rows": report.manifest.rows,
            "counts": report.manifest.counts,
            "dropped": report.manifest.dropped,
            "quarantined": len(report.manifest.quarantined),
            "skipped": report.manifest.skipped,
            "empty_classes": report.manifest.empty_classes,
            "duplicates": report.manifest.duplicates.model_dump(exclude={"conflicts"}),
            "unchanged": report.unchanged,
        }
    return record


def open_settings(settings: IngestSettings) -> Source:
    if settings.source == "synthetic":
        return SyntheticSource(
            samples=settings.samples, size=settings.size, seed=settings.layout.seed
        )
    sources = [open_source(settings.source, path, domain=settings.domain) for path in settings.path]
    return sources[0] if len(sources) == 1 else CombinedSource(tuple(sources))


def inspect(location: str, sheet: str | None) -> dict[str, Any]:
    shards = ShardSet.open(location)
    if sheet is not None:
        storage.check_writable(sheet)
    described = inspect_shards(shards)
    print(as_text(described), file=sys.stderr)
    if sheet is not None:
        storage.write_bytes(sheet, contact_sheet(shards))
    return {**described, "sheet": sheet}


if __name__ == "__main__":
    sys.exit(run_job(IngestSettings, main, program="ingest", purpose=__doc__ or ""))
