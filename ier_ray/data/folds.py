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
    class differ by at most one between folds.

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
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 (a slow import)

    assigned = np.zeros(len(labels), dtype=np.int8)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(assigned, labels, groups)):
        assigned[held_out] = fold
    return assigned


def _stratified(labels: Sequence[str], *, folds: int, seed: int) -> NDArray[np.int8]:
    generator = np.random.default_rng(seed)
    names = np.asarray(labels)
    order = generator.permutation(len(names))
    order = order[np.argsort(names[order], kind="stable")]
    assigned = np.empty(len(names), dtype=np.int8)
    assigned[order] = np.arange(len(names)) % folds
    return assigned
