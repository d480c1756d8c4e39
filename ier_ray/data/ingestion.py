"""From a source to a shard set: Parquet files, then the manifest that marks them complete.

Listing, label mapping, folds and shuffling need no images; images are loaded, verified and written
wherever ``execute`` runs the writer. The manifest is written last, so a killed ingest leaves
nothing that looks complete. Repeating a completed request does nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from ier_ray import storage
from ier_ray.data.listing import LayoutSettings, list_samples, numbered_blocks, request_hash
from ier_ray.data.schema import MANIFEST, Domain, Manifest, Rejected, ShardFile, made_before
from ier_ray.data.shard_writer import ShardWriter
from ier_ray.data.sources import Source
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError

ExecuteWrites = Callable[[ShardWriter, list[pa.Table]], Iterable[str]]
"""Applies the writer to every block, in any order, and yields the blocks' JSON summaries."""


@dataclass(frozen=True)
class IngestReport:
    """Result of an ingest."""

    location: str
    manifest: Manifest
    unchanged: bool
    """Whether the shard set existed already, so that nothing was written."""


def write_locally(writer: ShardWriter, blocks: list[pa.Table]) -> Iterator[str]:
    """Write the blocks one after another in this process."""
    for block in blocks:
        yield from writer(block)["summary"].to_pylist()


def write_shard_set(
    source: Source,
    domain: Domain,
    location: str,
    *,
    scheme: EmotionScheme,
    layout: LayoutSettings,
    execute: ExecuteWrites = write_locally,
) -> IngestReport:
    """Write one domain of a source as a shard set.

    Raises:
        DataError: when the location holds another shard set, no sample has a class of the scheme,
            or more than ``max_bad`` images are unusable.
    """
    request = request_hash(source, domain, scheme, layout)
    found = made_before(location, request)
    if found is not None:
        return IngestReport(location, found, unchanged=True)
    listing, dropped = list_samples(source, domain, scheme, layout)
    writer = ShardWriter(source, domain, location, layout.rows_per_group, layout.resize)
    summaries = []
    with tqdm(total=len(listing), unit="image", desc=f"ingest {domain}", disable=None) as bar:
        for written in execute(writer, numbered_blocks(listing, layout.rows_per_shard)):
            summaries.append(json.loads(written))
            bar.update(summaries[-1]["listed"])
    summaries.sort(key=lambda summary: int(summary["shard"]))
    listed = len(listing) + dropped.total()
    datasets = sorted(listing["dataset"].unique().to_pylist())
    manifest = make_manifest(
        source, domain, scheme, layout, datasets, summaries, dropped, listed, request
    )
    if len(manifest.quarantined) > layout.max_bad:
        named = ", ".join(f"{bad.sample_id} ({bad.reason})" for bad in manifest.quarantined[:5])
        raise DataError(
            f"{location}: {len(manifest.quarantined)} unusable images, --max-bad allows "
            f"{layout.max_bad}: {named}; repair or remove them, or raise --max-bad"
        )
    storage.write_json(storage.join(location, MANIFEST), manifest.model_dump(mode="json"))
    return IngestReport(location, manifest, unchanged=False)


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
