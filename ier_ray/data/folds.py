"""Cross-validation folds: stratified by label, never splitting a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ier_ray.errors import DataError


def assign_folds(
    labels: Sequence[str], groups: Sequence[str], *, folds: int, seed: int
) -> NDArray[np.int8]:
    """Fold ``0 … folds-1`` of each sample.

    The samples of a group share a fold. Where every group is a single sample, the counts of a
    class differ by at most one between folds. Otherwise groups of several samples are assigned
    first, and the others level the counts.

    Raises:
        DataError: when there are fewer groups than folds.
    """
    distinct = len(set(groups))
    if distinct < folds:
        raise DataError(
            f"folds={folds} needs as many groups, but the data has only {distinct} (copies of an "
            f"image are one group); lower --folds or add data"
        )
    if distinct == len(groups):
        return _stratified(labels, folds=folds, seed=seed)
    _, group, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    shared = sizes[group] > 1
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    assigned = np.full(len(codes), -1, dtype=np.int8)
    assigned[shared] = _whole_groups(codes[shared], group[shared], folds=folds, seed=seed)
    _fill(assigned, codes, len(names), folds=folds, seed=seed)
    return assigned


def _whole_groups(
    labels: NDArray[np.int64], groups: NDArray[np.int64], *, folds: int, seed: int
) -> NDArray[np.int8]:
    """Folds of samples in groups of several; in turn where there are too few to be stratified."""
    names, codes = np.unique(groups, return_inverse=True)
    if min(len(names), np.bincount(labels).max()) < folds:
        return (np.random.default_rng(seed).permutation(len(names)) % folds)[codes].astype(np.int8)
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 (a slow import)

    assigned = np.zeros(len(labels), dtype=np.int8)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(assigned, labels, groups)):
        assigned[held_out] = fold
    return assigned


def _fill(
    assigned: NDArray[np.int8],
    labels: NDArray[np.int64],
    classes: int,
    *,
    folds: int,
    seed: int,
) -> None:
    """Give the samples without a fold (-1) the folds that have the fewest of their class.

    scikit-learn takes minutes for a million groups, nearly all of which are single samples.
    """
    generator = np.random.default_rng(seed)
    for label in range(classes):
        single = generator.permutation(np.flatnonzero((labels == label) & (assigned < 0)))
        placed = assigned[(labels == label) & (assigned >= 0)]
        totals = np.bincount(assigned[assigned >= 0], minlength=folds)
        levels = np.bincount(placed, minlength=folds)[:, None] + np.arange(len(single))
        fold = np.repeat(np.arange(folds), len(single))
        order = np.lexsort((totals[fold], levels.reshape(-1)))[: len(single)]
        assigned[single] = fold[order]


def _stratified(labels: Sequence[str], *, folds: int, seed: int) -> NDArray[np.int8]:
    generator = np.random.default_rng(seed)
    names = np.asarray(labels)
    order = generator.permutation(len(names))
    order = order[np.argsort(names[order], kind="stable")]
    assigned = np.empty(len(names), dtype=np.int8)
    assigned[order] = np.arange(len(names)) % folds
    return assigned
