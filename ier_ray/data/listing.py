"""Which samples a shard set holds, in which folds and order; no image is read."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from ier_ray.config import Seed, Settings
from ier_ray.data.folds import assign_folds
from ier_ray.data.schema import SHARD_SCHEMA, Domain, DuplicatesMode
from ier_ray.data.sources import Listed, Source
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


def list_samples(
    source: Source, domain: Domain, scheme: EmotionScheme
) -> tuple[pa.Table, Counter[str]]:
    """The samples that have a class, as the source lists them; and each dropped label's count.

    Raises:
        DataError: when no sample has a class, or an id is listed twice.
    """
    kept: list[tuple[Listed, str]] = []
    dropped: Counter[str] = Counter()
    mapped: Counter[tuple[str, str]] = Counter()
    for sample in source.list(domain):
        label = scheme.class_of(sample.source_label)
        if label is None:
            dropped[sample.source_label] += 1
        else:
            kept.append((sample, label))
            mapped[sample.source_label, label] += 1
    logger.info("%s labels of %s: %s", domain, source.name, as_sentence(mapped, dropped))
    if not kept:
        raise DataError(
            f"source {source.name!r} has no {domain} sample with a class of scheme "
            f"{scheme.name!r}; dropped labels: {dict(dropped)}"
        )
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
    return pa.table(columns), dropped


def as_sentence(mapped: Counter[tuple[str, str]], dropped: Counter[str]) -> str:
    """How many samples of each of the dataset's labels went to which class, or were dropped."""
    parts = [f"{count} {own} as {label}" for (own, label), count in sorted(mapped.items())]
    parts += [f"{count} {own} dropped" for own, count in sorted(dropped.items())]
    return ", ".join(parts)


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
