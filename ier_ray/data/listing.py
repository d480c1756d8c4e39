"""Which samples a shard set holds, in which folds and order; no image is read."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from ier_ray.config import Seed, Settings
from ier_ray.data.folds import assign_folds
from ier_ray.data.schema import SHARD_SCHEMA, Domain, DuplicatesMode
from ier_ray.data.sources import Listed, Skipped, Source
from ier_ray.data.sources.base import why_taken
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError

logger = logging.getLogger(__name__)


class LayoutSettings(Settings):
    """How a shard set is divided."""

    folds: int = Field(5, ge=2, le=100)
    """Cross-validation folds, stratified by label; a group is never split."""
    seed: Seed = 0
    """Seed of folds, shuffling and synthetic drawings."""
    max_bad: int = Field(0, ge=0)
    """Most unusable images tolerated: they are quarantined and named. More fail the job."""
    duplicates: DuplicatesMode = "group"
    """Copies of an image, also re-encoded, resized or mirrored ones: group (they share a fold),
    drop (one of them remains), or keep (do not look for any, which saves one reading)."""
    resize: int | None = Field(None, ge=32)
    """Shorter side in pixels: larger images are downscaled to it, as JPEG. By default, none are."""
    rows_per_shard: int = Field(4096, ge=1)
    """Rows per Parquet file."""
    rows_per_group: int = Field(128, ge=1)
    """Rows per row group, the unit of reading."""


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


@dataclass(frozen=True)
class Listing:
    """All that a source lists."""

    samples: pa.Table
    """The samples that have a class, as the source lists them."""
    dropped: list[tuple[str, str]]
    """Id and label of the samples without a class."""
    skipped: list[Skipped]
    """Files that are no samples."""
    labels: str
    """How many samples of each of the dataset's labels went to which class, or were dropped."""

    @property
    def count(self) -> int:
        """Samples and skipped files."""
        return len(self.samples) + len(self.dropped) + len(self.skipped)


def list_samples(source: Source, domain: Domain, scheme: EmotionScheme) -> Listing:
    """List a source, and map its labels.

    Raises:
        DataError: when the source cannot be listed, no sample has a class, or an id is listed
            twice.
    """
    listed: list[Listed] = []
    skipped: list[Skipped] = []
    try:
        for entry in source.list(domain):
            if isinstance(entry, Skipped):
                skipped.append(entry)
            else:
                listed.append(entry)
    except DataError as error:
        raise DataError(f"{error}{why_taken(source)}") from error
    found = Counter(sample.source_label for sample in listed)
    class_of = {label: scheme.class_of(label) for label in found}
    labels = as_sentence(found, class_of)
    logger.info("%s labels of %s: %s", domain, source.name, labels)
    dropped = [(s.sample_id, s.source_label) for s in listed if class_of[s.source_label] is None]
    samples = classed_samples(source, listed, class_of)
    if not len(samples):
        reasons = dict(Counter(file.reason for file in skipped))
        raise DataError(
            f"source {source.name!r} has no {domain} sample with a class of scheme "
            f"{scheme.name!r}, which has {list(scheme.classes)}; labels of the data: "
            f"{labels or 'none'}; skipped files: {reasons or 'none'}. A scheme of your own "
            f"(--scheme FILE.yaml) can merge these labels into classes{why_taken(source)}"
        )
    return Listing(samples, dropped, skipped, labels)


def classed_samples(
    source: Source, listed: Sequence[Listed], class_of: Mapping[str, str | None]
) -> pa.Table:
    """The samples whose labels have a class.

    Raises:
        DataError: when an id is listed twice.
    """
    kept = [(s, label) for s in listed if (label := class_of[s.source_label]) is not None]
    if not kept:
        return pa.table({})
    samples, labels = zip(*kept, strict=True)
    ids, source_labels, groups, locators, affects, datasets, splits = zip(*samples, strict=True)
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(f"source {source.name!r}: sample id {repeated[0]!r} is listed twice")
    columns = {
        "sample_id": ids,
        "source_label": source_labels,
        "group": groups,
        "dataset": [dataset or source.name for dataset in datasets],
        "label": labels,
        "split": pa.array(splits, pa.string()),
        "locator": locators,
        **affect_columns(affects),
    }
    return pa.table(columns)


def as_sentence(found: Mapping[str, int], class_of: Mapping[str, str | None]) -> str:
    """How many samples of each of the dataset's labels went to which class, or were dropped."""
    own = sorted(found.items(), key=lambda item: (class_of[item[0]] is None, item[0]))
    outcomes = {label: f"as {name}" if name else "dropped" for label, name in class_of.items()}
    return ", ".join(f"{count} {label} {outcomes[label]}" for label, count in own)


def in_folds(listing: pa.Table, layout: LayoutSettings) -> pa.Table:
    """The listing with the fold of each sample, shuffled.

    Raises:
        DataError: when there are fewer groups than folds.
    """
    labels, groups = listing["label"].to_pylist(), listing["group"].to_pylist()
    folds = assign_folds(labels, groups, folds=layout.folds, seed=layout.seed)
    order = np.random.default_rng(layout.seed).permutation(len(listing))
    return listing.append_column("fold", pa.array(folds)).take(order)


def listed_of(entry: Mapping[str, Any]) -> Listed:
    """The sample that a row of the listing stands for, as far as a source needs it to load."""
    return Listed(entry["sample_id"], entry["source_label"], entry["group"], entry["locator"])


def affect_columns(affects: Sequence[tuple[float, float, float] | None]) -> dict[str, pa.Array]:
    """Valence, arousal and dominance as columns; null where a sample has no ratings."""
    return {
        name: pa.array(
            [None if affect is None else affect[place] for affect in affects], pa.float32()
        )
        for place, name in enumerate(("valence", "arousal", "dominance"))
    }


def numbered_blocks(listing: pa.Table, rows_per_shard: int) -> list[pa.Table]:
    """The listing as one block per shard, with the shard's number in column ``shard``."""
    starts = range(0, len(listing), rows_per_shard)
    blocks = [listing.slice(start, rows_per_shard) for start in starts]
    return [
        block.append_column("shard", pa.array([number] * len(block)))
        for number, block in enumerate(blocks)
    ]
