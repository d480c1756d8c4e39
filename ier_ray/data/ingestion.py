"""From a source to a shard set: Parquet files, then the manifest that marks them complete.

Listing, label mapping, folds and shuffling need no images; images are loaded wherever ``execute``
runs a task: once to recognize duplicates, and once to verify and write them. The manifest is
written last, so a killed ingest leaves nothing that looks complete. Repeating a completed request
does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ier_ray import storage
from ier_ray.data.accounting import (
    Accounting,
    make_manifest,
    warn_of_what_is_missing,
    write_left_out,
)
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
    made_before,
)
from ier_ray.data.shard_writer import ShardWriter
from ier_ray.data.sources import Source
from ier_ray.data.sources.base import why_taken
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
    listed = list_samples(source, domain, scheme)
    treated = without_leaks(listed.samples, Fingerprinter(source, domain), layout, execute)
    kept = set(treated.listing["sample_id"].to_pylist())
    copies = (name for name in listed.samples["sample_id"].to_pylist() if name not in kept)
    before = Accounting(listed, treated.record, tuple(copies))
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
    manifest = make_manifest(source, domain, scheme, layout, summaries, before, request)
    if len(manifest.quarantined) > layout.max_bad:
        named = ", ".join(f"{bad.sample_id} ({bad.reason})" for bad in manifest.quarantined[:5])
        raise DataError(
            f"{location}: {len(manifest.quarantined)} unusable images, --max-bad allows "
            f"{layout.max_bad}: {named}; repair or remove them, or raise --max-bad"
            f"{why_taken(source)}"
        )
    write_left_out(location, manifest, before)
    warn_of_what_is_missing(location, manifest, listed.labels)
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
