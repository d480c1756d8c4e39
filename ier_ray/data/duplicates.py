"""What ingest does with duplicate images: one group, only one of them, or nothing.

Duplicates in different folds, or on both sides of a dataset's own split, let a network be tested on
images that it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ier_ray.data.fingerprints import Fingerprints
from ier_ray.data.near_duplicates import components, duplicate_clusters
from ier_ray.data.schema import PARTS, ConflictingLabels, Duplicates, DuplicatesMode, Part

MAX_NAMED = 100
"""Clusters with conflicting labels that the manifest names."""


@dataclass(frozen=True)
class Treated:
    """A listing whose duplicates are taken care of, and what was found."""

    listing: pa.Table
    record: Duplicates


def treat_duplicates(
    listing: pa.Table, fingerprints: Iterable[pa.Table], mode: DuplicatesMode
) -> Treated:
    """Group the duplicates of a listing, or keep one of each cluster.

    ``group``: all samples of a cluster, and of the dataset's groups that it connects, get one
    group, named as the first of these. Where a cluster spans several of the dataset's own parts,
    only the members in the most held-out part (test before val before train) keep it.

    ``drop``: the first member in the most held-out part remains.

    Args:
        listing: the samples, in the source's order.
        fingerprints: of its usable images, in any order, as
            :data:`~ier_ray.data.fingerprints.FINGERPRINTS`.
        mode: ``group`` or ``drop``.
    """
    prints = Fingerprints.of(fingerprints)
    labels = duplicate_clusters(prints)
    clusters = sorted((prints.row[members] for members in _members(labels)), key=lambda r: r[0])
    counted = _counted(listing, prints, clusters, mode)
    held_out = _held_out(listing["split"].to_pylist())
    if mode == "drop":
        kept = np.ones(len(listing), np.bool_)
        for rows in clusters:
            kept[rows] = False
            kept[rows[np.argmax(held_out[rows])]] = True
        dropped = int(len(kept) - kept.sum())
        return Treated(
            listing.filter(pa.array(kept)), counted.model_copy(update={"dropped": dropped})
        )
    left_out = np.zeros(len(listing), np.bool_)
    for rows in clusters:
        left_out[rows] = (held_out[rows] >= 0) & (held_out[rows] < held_out[rows].max())
    splits = listing["split"].to_numpy(zero_copy_only=False)
    replaced = {
        "split": pa.array(np.where(left_out, None, splits), pa.string()),
        "group": pa.array(merged_groups(listing["group"].to_pylist(), clusters), pa.string()),
    }
    for name, column in replaced.items():
        listing = listing.set_column(listing.schema.get_field_index(name), name, column)
    record = counted.model_copy(update={"left_out_of_own_split": int(left_out.sum())})
    return Treated(listing, record)


def merged_groups(groups: Sequence[str], clusters: Sequence[NDArray[np.int64]]) -> list[str]:
    """The groups after those that share a cluster became one, named as the first of them."""
    number: dict[str, int] = {}
    codes = np.array([number.setdefault(group, len(number)) for group in groups])
    left = np.concatenate([np.zeros(0, np.int64), *(rows[1:] for rows in clusters)])
    right = np.concatenate(
        [np.zeros(0, np.int64), *(np.full(len(rows) - 1, rows[0]) for rows in clusters)]
    )
    merged = components(codes[left], codes[right], count=len(number))[codes]
    _, first, inverse = np.unique(merged, return_index=True, return_inverse=True)
    return [groups[row] for row in first[inverse]]


def _members(labels: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The members of each label that several images have."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return (members for members in np.split(order, starts) if len(members) > 1)


def _held_out(splits: Sequence[Part | None]) -> NDArray[np.int8]:
    """How far each sample is held out: -1 without a part, then train, val, test."""
    return np.array([-1 if split is None else PARTS.index(split) for split in splits], np.int8)


def _counted(
    listing: pa.Table,
    prints: Fingerprints,
    clusters: Sequence[NDArray[np.int64]],
    mode: DuplicatesMode,
) -> Duplicates:
    images = sum(map(len, clusters))
    exact = len(prints) - len(np.unique(prints.pixels))
    ids, labels = listing["sample_id"].to_pylist(), listing["label"].to_pylist()
    conflicts = [rows for rows in clusters if len({labels[row] for row in rows}) > 1]
    return Duplicates(
        mode=mode,
        clusters=len(clusters),
        images=images,
        exact=exact,
        near=images - len(clusters) - exact,
        conflicting=len(conflicts),
        conflicts=tuple(
            ConflictingLabels(
                sample_ids=[ids[row] for row in rows], labels=[labels[row] for row in rows]
            )
            for rows in conflicts[:MAX_NAMED]
        ),
    )
