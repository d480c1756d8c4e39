"""Turn a dataset into shards that training streams."""

from __future__ import annotations

import sys
from typing import Any, Literal

from pydantic import Field

from ier_ray import storage
from ier_ray.cluster.ingest import LayoutSettings, ingest
from ier_ray.cluster.job import run_job
from ier_ray.data.schema import Domain
from ier_ray.data.sources import SyntheticSource
from ier_ray.emotions import scheme_named


class IngestSettings(LayoutSettings):
    """What to ingest, and where to."""

    source: Literal["synthetic"]
    """Dataset: synthetic draws faces and scenes with known evidence."""
    output: str = "data/synthetic"
    """Directory or s3:// URI; each domain becomes a shard set <output>/<domain>."""
    domains: tuple[Domain, ...] = ("fer", "ier")
    """Domains to write."""
    scheme: str = "four"
    """Label scheme: four (happy, sad, hate, anger) or seven."""
    samples: int = Field(2000, ge=1)
    """Synthetic drawings in each domain."""
    size: int = Field(64, ge=32, le=1024)
    """Side of a synthetic drawing in pixels."""


def main(settings: IngestSettings) -> dict[str, Any]:
    source = SyntheticSource(samples=settings.samples, size=settings.size, seed=settings.seed)
    layout = LayoutSettings(**settings.model_dump(include=set(LayoutSettings.model_fields)))
    record: dict[str, Any] = {}
    for domain in settings.domains:
        location = storage.join(storage.absolute(settings.output), domain)
        scheme = scheme_named(settings.scheme)
        report = ingest(source, domain, location, scheme=scheme, layout=layout)
        record[domain] = {
            "location": report.location,
            "rows": report.manifest.rows,
            "counts": report.manifest.counts,
            "dropped": report.manifest.dropped,
            "quarantined": len(report.manifest.quarantined),
            "unchanged": report.unchanged,
        }
    return record


if __name__ == "__main__":
    sys.exit(run_job(IngestSettings, main, program="ingest", purpose=__doc__ or ""))
