"""From a source to a shard set: Parquet files, then the manifest that marks them complete.

Listing, label mapping, folds and shuffling need no images; images are loaded wherever ``execute``
runs a task: once to recognize duplicates, and once to verify and write them. The manifest is
written last, so a killed ingest leaves nothing that looks complete. Repeating a completed request
does nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ier_ray import storage
from ier_ray.data.duplicates import Treated, treat_duplicates
from ier_ray.data.fingerprints import Fingerprinter
from ier_ray.data.listing import (
    LayoutSettings,
    in_folds,
    list_samples,
    numbered_blocks,
    request_hash,
)
from ier_ray.data.schema import (
    MANIFEST,
    Domain,
    Duplicates,
    Manifest,
    Rejected,
    ShardFile,
    made_before,
)
from ier_ray.data.shard_writer import ShardWriter
from ier_ray.data.sources import Source
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError

BlockTask = Callable[[pa.Table], pa.Table]
"""What is done with a block of the listing: taking fingerprints, or writing a shard."""

Execute = Callable[[BlockTask, list[pa.Table]], Iterable[pa.Table]]
"""Applies the task to every block and yields the results, in any order."""


@dataclass(frozen=True)
class IngestReport:
    """Result of an ingest."""

    location: str
    manifest: Manifest
    unchanged: bool
    """Whether the shard set existed already, so that nothing was written."""


@dataclass(frozen=True)
class Accounting:
    """What became of the listed samples before any shard was written."""

    listed: int
    """Samples the source listed."""
    dropped: Counter[str]
    """Samples without a class, per label."""
    duplicates: Duplicates
    """Copies of images, and how many of them were dropped."""


def run_locally(task: BlockTask, blocks: list[pa.Table]) -> Iterator[pa.Table]:
    """Apply the task to the blocks one after another in this process."""
    return map(task, blocks)


def write_shard_set(
    source: Source,
    domain: Domain,
    location: str,
    *,
    scheme: EmotionScheme,
    layout: LayoutSettings,
    execute: Execute = run_locally,
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
    samples, dropped = list_samples(source, domain, scheme)
    treated = without_leaks(samples, Fingerprinter(source, domain), layout, execute)
    before = Accounting(len(samples) + dropped.total(), dropped, treated.record)
    listing = in_folds(treated.listing, layout)
    writer = ShardWriter(source, domain, location, layout.rows_per_group, layout.resize)
    blocks = numbered_blocks(listing, layout.rows_per_shard)
    with tqdm(total=len(listing), unit="image", desc=f"ingest {domain}", disable=None) as bar:
        summaries = []
        for written in execute(writer, blocks):
            for summary in map(json.loads, written["summary"].to_pylist()):
                summaries.append(summary)
                bar.update(summary["listed"])
    summaries.sort(key=lambda summary: int(summary["shard"]))
    datasets = sorted(listing["dataset"].unique().to_pylist())
    manifest = make_manifest(
        source,
        domain,
        scheme,
        layout,
        datasets,
        summaries,
        before,
        request,
    )
    if len(manifest.quarantined) > layout.max_bad:
        named = ", ".join(f"{bad.sample_id} ({bad.reason})" for bad in manifest.quarantined[:5])
        raise DataError(
            f"{location}: {len(manifest.quarantined)} unusable images, --max-bad allows "
            f"{layout.max_bad}: {named}; repair or remove them, or raise --max-bad"
        )
    storage.write_json(storage.join(location, MANIFEST), manifest.model_dump(mode="json"))
    return IngestReport(location, manifest, unchanged=False)


def without_leaks(
    samples: pa.Table, task: Fingerprinter, layout: LayoutSettings, execute: Execute
) -> Treated:
    """The listing after its duplicates were looked for and grouped or dropped, unless kept."""
    if layout.duplicates == "keep":
        return Treated(samples, Duplicates(mode="keep"))
    numbered = samples.append_column("row", pa.array(np.arange(len(samples))))
    blocks = numbered_blocks(numbered, layout.rows_per_shard)
    name = f"duplicates {task.domain}"
    with tqdm(total=len(blocks), unit="block", desc=name, disable=None) as bar:
        fingerprints = []
        for fingerprint in execute(task, blocks):
            fingerprints.append(fingerprint)
            bar.update()
    return treat_duplicates(samples, fingerprints, layout.duplicates)


def make_manifest(
    source: Source,
    domain: Domain,
    scheme: EmotionScheme,
    layout: LayoutSettings,
    datasets: list[str],
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
    dropped, copies = before.dropped.total(), before.duplicates.dropped
    if before.listed != rows + dropped + len(quarantined) + copies:
        raise DataError(
            f"source {source.name!r}: {before.listed} samples listed, but {rows} kept, {dropped} "
            f"dropped, {len(quarantined)} quarantined and {copies} duplicates left out; "
            f"shards were lost"
        )
    content = hashlib.sha256("".join(shard.sha256 for shard in shards).encode()).hexdigest()
    return Manifest(
        domain=domain,
        datasets=datasets,
        scheme=scheme.name,
        classes=list(scheme.classes),
        folds=layout.folds,
        seed=layout.seed,
        listed=before.listed,
        rows=rows,
        counts=counts,
        dropped=dict(before.dropped),
        quarantined=quarantined,
        duplicates=before.duplicates,
        shards=shards,
        content_hash=content,
        request_hash=request,
    )
