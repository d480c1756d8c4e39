"""What became of every file and sample of a source: counts for the manifest, and all names."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ier_ray import storage
from ier_ray.data.listing import LayoutSettings, Listing
from ier_ray.data.schema import (
    LEFT_OUT,
    LEFT_OUT_SCHEMA,
    Domain,
    Duplicates,
    Manifest,
    Rejected,
    ShardFile,
)
from ier_ray.data.sources import Source
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Accounting:
    """What became of the listed samples before any shard was written."""

    listing: Listing
    duplicates: Duplicates
    """Copies of images, and how many of them were dropped."""
    copies: tuple[str, ...]
    """Ids of the dropped copies."""


def make_manifest(
    source: Source,
    domain: Domain,
    scheme: EmotionScheme,
    layout: LayoutSettings,
    summaries: list[dict[str, Any]],
    before: Accounting,
    request: str,
) -> Manifest:
    """Combine the shards' summaries, and check that every listed sample is accounted for."""
    files = [ShardFile(**summary["file"]) for summary in summaries]
    shards = [file for file in files if file.rows]  # all images of a shard may be quarantined
    counts = {name: [0] * layout.folds for name in scheme.classes}
    for summary in summaries:
        for key, count in summary["counts"].items():
            fold, label = key.split(" ", 1)
            counts[label][int(fold)] += count
    quarantined = [Rejected(**bad) for summary in summaries for bad in summary["quarantined"]]
    rows = sum(shard.rows for shard in shards)
    listing, copies = before.listing, before.duplicates.dropped
    dropped, skipped = len(listing.dropped), len(listing.skipped)
    if listing.count != rows + dropped + len(quarantined) + copies + skipped:
        raise DataError(
            f"source {source.name!r}: {listing.count} samples and files listed, but {rows} kept, "
            f"{dropped} dropped, {len(quarantined)} quarantined, {copies} duplicates left out and "
            f"{skipped} skipped; shards were lost"
        )
    content = hashlib.sha256("".join(shard.sha256 for shard in shards).encode()).hexdigest()
    return Manifest(
        domain=domain,
        datasets=sorted(listing.samples["dataset"].unique().to_pylist()),
        scheme=scheme.name,
        classes=list(scheme.classes),
        folds=layout.folds,
        seed=layout.seed,
        listed=listing.count,
        rows=rows,
        counts=counts,
        dropped=dict(Counter(label for _, label in listing.dropped)),
        quarantined=quarantined,
        skipped=dict(Counter(file.reason for file in listing.skipped)),
        duplicates=before.duplicates,
        shards=shards,
        content_hash=content,
        request_hash=request,
    )


def write_left_out(location: str, manifest: Manifest, before: Accounting) -> None:
    """Name everything that was listed and is in no shard, with the reason."""
    rows = [
        *(
            (name, "dropped", label, "the label has no class")
            for name, label in before.listing.dropped
        ),
        *((bad.sample_id, "quarantined", bad.reason, bad.detail) for bad in manifest.quarantined),
        *((name, "duplicate", "copy", "another copy is kept") for name in before.copies),
        *((file.sample_id, "skipped", file.reason, file.detail) for file in before.listing.skipped),
    ]
    named = [dict(zip(LEFT_OUT_SCHEMA.names, row, strict=True)) for row in rows]
    with storage.writing(storage.join(location, LEFT_OUT)) as stream:
        pq.write_table(pa.Table.from_pylist(named, schema=LEFT_OUT_SCHEMA), stream)


def warn_of_what_is_missing(location: str, manifest: Manifest, labels: str) -> None:
    """Log which classes have no row, and how many files were skipped.

    Args:
        labels: what became of each of the source's labels.
    """
    if manifest.empty_classes:
        logger.warning(
            "WARNING: %s: no row of class %s of scheme %r. Labels of the data: %s. If some of them "
            "mean that class, merge them into it by a scheme of your own (--scheme FILE.yaml)",
            location,
            ", ".join(map(repr, manifest.empty_classes)),
            manifest.scheme,
            labels,
        )
    if manifest.skipped:
        reasons = (f"{count} {reason}" for reason, count in sorted(manifest.skipped.items()))
        logger.info(
            "%s: skipped %d files (%s); %s names them",
            location,
            sum(manifest.skipped.values()),
            ", ".join(reasons),
            LEFT_OUT,
        )
