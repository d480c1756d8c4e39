"""From a source to shards: a Ray Data job that writes one Parquet file a task.

Listing, label mapping, folds and the shuffle are decided by the driver on names alone; images are
loaded, verified and written where the task runs. The manifest comes last, so a killed ingest
leaves nothing that looks complete, and the same request repeated has nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from pydantic import Field
from tqdm import tqdm

from ier_ray import storage
from ier_ray.config import Settings
from ier_ray.data.folds import assign_folds
from ier_ray.data.images import decode_rgb, reduced
from ier_ray.data.schema import (
    MANIFEST,
    SHARD_SCHEMA,
    Domain,
    Manifest,
    Rejected,
    ShardFile,
    made_before,
)
from ier_ray.data.sources import Listed, Source
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError, ImageError

logger = logging.getLogger(__name__)


class LayoutSettings(Settings):
    """How a shard set is divided."""

    folds: int = Field(5, ge=2, le=100)
    """Cross-validation folds, stratified by label; groups are never split."""
    seed: int = Field(0, ge=0)
    """Seed of folds, shuffle and synthetic drawings."""
    max_bad: int = Field(0, ge=0)
    """Unusable images tolerated: they are quarantined and named; more fail the job."""
    resize: int | None = Field(None, ge=32)
    """Shorter side in pixels: larger images are reduced, to JPEG; by default all as delivered."""
    rows_per_shard: int = Field(4096, ge=1)
    """Rows in a Parquet file."""
    rows_per_group: int = Field(128, ge=1)
    """Rows in a row group, the unit of reading."""


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did."""

    location: str
    manifest: Manifest
    unchanged: bool
    """Whether the shard set was there already."""


def ingest(
    source: Source,
    domain: Domain,
    location: str,
    *,
    scheme: EmotionScheme,
    layout: LayoutSettings,
) -> IngestReport:
    """Write one domain of a source as a shard set.

    Raises:
        DataError: when the location holds another shard set, nothing is left to write, or more
            than ``max_bad`` images are unusable.
    """
    request = request_hash(source, domain, scheme, layout)
    found = made_before(location, request)
    if found is not None:
        return IngestReport(location, found, unchanged=True)
    listing, dropped = list_samples(source, domain, scheme, layout)
    summaries = write_shards(source, domain, location, listing, layout)
    listed = len(listing) + dropped.total()
    datasets = sorted(listing["dataset"].unique().to_pylist())
    manifest = make_manifest(
        source, domain, scheme, layout, datasets, summaries, dropped, listed, request
    )
    if len(manifest.quarantined) > layout.max_bad:
        named = ", ".join(f"{bad.sample_id} ({bad.reason})" for bad in manifest.quarantined[:5])
        raise DataError(
            f"{location}: {len(manifest.quarantined)} unusable images, --max-bad allows "
            f"{layout.max_bad}: {named}; mend them, or raise --max-bad"
        )
    storage.write_json(storage.join(location, MANIFEST), manifest.model_dump(mode="json"))
    return IngestReport(location, manifest, unchanged=False)


def request_hash(
    source: Source, domain: Domain, scheme: EmotionScheme, layout: LayoutSettings
) -> str:
    """Hash of everything that decides what a shard set contains."""
    asked = {
        "source": repr(source),
        "domain": domain,
        "scheme": repr(scheme),
        "layout": layout.model_dump(exclude={"max_bad"}),
        "schema": str(SHARD_SCHEMA),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def list_samples(
    source: Source, domain: Domain, scheme: EmotionScheme, layout: LayoutSettings
) -> tuple[pa.Table, Counter[str]]:
    """Samples with a class, with folds, shuffled; and how many of which label were dropped."""
    kept: list[tuple[Listed, str]] = []
    dropped: Counter[str] = Counter()
    for sample in source.list(domain):
        label = scheme.class_of(sample.source_label)
        if label is None:
            dropped[sample.source_label] += 1
        else:
            kept.append((sample, label))
    if not kept:
        raise DataError(
            f"source {source.name!r} has no {domain} sample with a class of scheme "
            f"{scheme.name!r}; dropped labels: {dict(dropped)}"
        )
    samples, labels = zip(*kept, strict=True)
    ids, source_labels, groups, locators, affects, datasets = zip(*samples, strict=True)
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(f"source {source.name!r}: sample id {repeated[0]!r} is listed twice")
    folds = assign_folds(labels, groups, folds=layout.folds, seed=layout.seed)
    columns = {
        "sample_id": ids,
        "source_label": source_labels,
        "group": groups,
        "dataset": [dataset or source.name for dataset in datasets],
        "label": labels,
        "fold": folds,
        "locator": locators,
        **affect_columns(affects),
    }
    order = np.random.default_rng(layout.seed).permutation(len(ids))
    return pa.table(columns).take(order), dropped


def affect_columns(affects: Sequence[tuple[float, float, float] | None]) -> dict[str, pa.Array]:
    """Valence, arousal and dominance as columns, null where a dataset does not rate them."""
    return {
        name: pa.array([None if rated is None else rated[place] for rated in affects], pa.float32())
        for place, name in enumerate(("valence", "arousal", "dominance"))
    }


def write_shards(
    source: Source, domain: Domain, location: str, listing: pa.Table, layout: LayoutSettings
) -> list[dict[str, Any]]:
    """Write every shard, as Ray tasks; what each wrote, in order."""
    starts = range(0, len(listing), layout.rows_per_shard)
    blocks = [listing.slice(start, layout.rows_per_shard) for start in starts]
    numbered = [
        block.append_column("shard", pa.array([number] * len(block)))
        for number, block in enumerate(blocks)
    ]
    writer = ShardWriter(source, domain, location, layout.rows_per_group, layout.resize)
    written = ray.data.from_arrow(numbered).map_batches(
        writer, batch_size=None, batch_format="pyarrow"
    )
    summaries = []
    with tqdm(total=len(listing), unit="image", desc=f"ingest {domain}", disable=None) as bar:
        for row in written.iter_rows():
            summary = json.loads(row["summary"])
            summaries.append(summary)
            bar.update(summary["listed"])
    return sorted(summaries, key=lambda summary: summary["shard"])


@dataclass(frozen=True)
class ShardWriter:
    """The Ray Data stage: a block of listed samples in, one Parquet file written."""

    source: Source
    domain: Domain
    location: str
    rows_per_group: int
    resize: int | None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write a block; returns one row with a JSON summary."""
        number = block["shard"][0].as_py()
        file = f"shards/part-{number:05d}.parquet"
        location = storage.join(self.location, file)
        quarantined: list[dict[str, str]] = []
        counts: Counter[str] = Counter()
        with storage.writing(location) as stream:
            hashed = storage.HashedStream(stream)
            # Encoded images do not compress; the small columns are not worth a codec.
            with pq.ParquetWriter(hashed, SHARD_SCHEMA, compression="none") as parquet:
                rows = self._rows(block, quarantined)
                while group := list(islice(rows, self.rows_per_group)):
                    parquet.write_table(pa.Table.from_pylist(group, schema=SHARD_SCHEMA))
                    counts.update(f"{row['fold']} {row['label']}" for row in group)
        summary: dict[str, Any] = {
            "shard": number,
            "listed": len(block),
            "quarantined": quarantined,
            "counts": counts,
            "file": {"file": file, "rows": counts.total(), "sha256": hashed.sha256.hexdigest()},
        }
        return pa.table({"summary": [json.dumps(summary)]})

    def _rows(self, block: pa.Table, quarantined: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
        for entry in block.drop_columns(["shard"]).to_pylist():
            listed = Listed(
                entry["sample_id"], entry["source_label"], entry["group"], entry.pop("locator")
            )
            try:
                loaded = self.source.load(self.domain, listed)
                encoded, image = loaded.image, decode_rgb(loaded.image)
            except ImageError as error:
                quarantined.append(
                    {
                        "sample_id": listed.sample_id,
                        "reason": error.reason,
                        "detail": str(error),
                    }
                )
                continue
            if self.resize is not None and min(image.size) > self.resize:
                encoded, image = reduced(image, shorter_side=self.resize)
            yield {
                **entry,
                "image": encoded,
                "domain": self.domain,
                "height": image.height,
                "width": image.width,
                "cue_mask": loaded.cue_mask,
            }


def make_manifest(
    source: Source,
    domain: Domain,
    scheme: EmotionScheme,
    layout: LayoutSettings,
    datasets: list[str],
    summaries: list[dict[str, Any]],
    dropped: Counter[str],
    listed: int,
    request: str,
) -> Manifest:
    """Put the shards' summaries together; every listed sample is accounted for."""
    files = [ShardFile(**summary["file"]) for summary in summaries]
    shards = [file for file in files if file.rows]  # all images of a shard may be quarantined
    counts = {name: [0] * layout.folds for name in scheme.classes}
    for summary in summaries:
        for key, count in summary["counts"].items():
            fold, label = key.split(" ", 1)
            counts[label][int(fold)] += count
    quarantined = [Rejected(**bad) for summary in summaries for bad in summary["quarantined"]]
    rows = sum(shard.rows for shard in shards)
    if listed != rows + dropped.total() + len(quarantined):
        raise DataError(
            f"source {source.name!r}: {listed} samples listed, but {rows} kept, "
            f"{dropped.total()} dropped and {len(quarantined)} quarantined; shards were lost"
        )
    content = hashlib.sha256("".join(shard.sha256 for shard in shards).encode()).hexdigest()
    return Manifest(
        domain=domain,
        datasets=datasets,
        scheme=scheme.name,
        classes=list(scheme.classes),
        folds=layout.folds,
        seed=layout.seed,
        listed=listed,
        rows=rows,
        counts=counts,
        dropped=dict(dropped),
        quarantined=quarantined,
        shards=shards,
        content_hash=content,
        request_hash=request,
    )
