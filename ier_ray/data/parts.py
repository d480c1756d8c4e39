"""Training, validation and test: the three parts of a shard set, no row in two of them.

Training rows change the weights, validation rows choose (an epoch, a trial, when to stop), test rows
do neither. A group (a subject, a series, copies of one picture) is in one part only.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ier_ray.config import Settings
from ier_ray.data.balancing import uniforms
from ier_ray.data.shards import RowIndex
from ier_ray.errors import DataError

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
"""The parts by their number in arrays of parts; rows in no part have -1."""
NONE, TRAIN, VAL, TEST = -1, 0, 1, 2

SplitRule = Literal["folds", "inner", "own"]


class SplitPlan(Settings):
    """How the rows of a shard set are divided; stored in the checkpoint."""

    rule: SplitRule = "folds"
    """folds: one fold is the test part, another one the validation part. inner: one fold is the
    test part, validation is drawn from the others. own: the dataset's own parts; validation is
    drawn from its training part where it has none."""
    test_fold: int = Field(0, ge=0)
    """The test part of folds and inner."""
    val_fold: int | None = Field(None, ge=0)
    """The validation part of folds. None: the fold after the test fold."""
    val_fraction: float = Field(0.2, gt=0, lt=1)
    """Fraction that is drawn for validation."""
    seed: int = Field(0, ge=0)
    """Seed of the draw."""
    reads_labels: bool = True
    """Whether the draw takes the same fraction of every class. Runs that may read no label of the
    domain draw from all groups alike."""

    @model_validator(mode="after")
    def _different_folds(self) -> SplitPlan:
        if self.rule == "folds" and self.val_fold == self.test_fold:
            raise ValueError(
                f"val_fold and test_fold are both {self.test_fold}; what selects cannot be tested "
                f"on: give another val_fold, or none for the next fold"
            )
        return self

    def parts(self, index: RowIndex, *, folds: int, classes: list[str], where: str) -> Parts:
        """The part of each row.

        Args:
            folds: number of folds of the shard set.
            classes: class names, for messages.
            where: location of the shard set, for messages.

        Raises:
            DataError: when a fold does not exist, a part or a class of one is empty, or a group is
                in two parts.
        """
        parts = self._own(index, where) if self.rule == "own" else self._by_fold(index, folds, where)
        check_groups(index, parts, where)
        check_not_empty(index, parts, classes if self.reads_labels else None, where, self.rule)
        return parts

    def _by_fold(self, index: RowIndex, folds: int, where: str) -> Parts:
        val_fold = (self.test_fold + 1) % folds if self.val_fold is None else self.val_fold
        named = {"data.test_fold": self.test_fold}
        if self.rule == "folds":
            named["data.val_fold"] = val_fold
        for name, fold in named.items():
            if fold >= folds:
                raise DataError(f"{name} is {fold}, but {where} has folds 0 to {folds - 1}")
        parts = np.full(len(index), TRAIN, dtype=np.int8)
        if self.rule == "folds":
            parts[index.fold == val_fold] = VAL
        else:
            parts[self._drawn(index, index.fold != self.test_fold)] = VAL
        parts[index.fold == self.test_fold] = TEST
        return parts

    def _own(self, index: RowIndex, where: str) -> Parts:
        parts = index.split.astype(np.int8)
        if not np.any(parts == TEST):
            raise DataError(
                f"{where}: data.split own needs a dataset with its own test part, but no row has "
                f"split test; use data.split folds or inner"
            )
        if not np.any(parts == VAL):
            parts[self._drawn(index, parts == TRAIN)] = VAL
        return parts

    def _drawn(self, index: RowIndex, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """True for the rows of ``val_fraction`` of the groups, drawn from the rows ``among``."""
        rows = np.flatnonzero(among)
        groups, first, member = np.unique(
            index.group[rows], return_index=True, return_inverse=True
        )
        strata = index.label[rows][first] if self.reads_labels else np.zeros(len(groups), int)
        draw = uniforms(groups, seed=self.seed, epoch=0)
        chosen = np.zeros(len(groups), dtype=np.bool_)
        for stratum in np.unique(strata):
            members = np.flatnonzero(strata == stratum)
            wanted = int(np.rint(self.val_fraction * len(members)))
            chosen[members[np.argsort(draw[members], kind="stable")][:wanted]] = True
        drawn = np.zeros(len(index), dtype=np.bool_)
        drawn[rows] = chosen[member.reshape(-1)]
        return drawn


Parts = NDArray[np.int8]
"""The number of each row's part in :data:`PARTS`, or -1."""


def check_groups(index: RowIndex, parts: Parts, where: str) -> None:
    """Raise :class:`DataError` if the rows of a group are in two parts."""
    used = parts != NONE
    pairs = np.unique(np.stack([index.group[used], parts[used].astype(np.uint64)]), axis=1)
    groups, counts = np.unique(pairs[0], return_counts=True)
    if not np.any(counts > 1):
        return
    first = groups[counts > 1][0]
    rows = np.flatnonzero(used & (index.group == first))
    places = ", ".join(
        f"row {row} of file {index.file[row]}, row group {index.row_group[row]}: "
        f"{PARTS[parts[row]]}"
        for row in rows[:4]
    )
    raise DataError(
        f"{where}: {int((counts > 1).sum())} groups are in two parts, such as ({places}); the "
        f"dataset's own split divides a subject or copies of one picture: use data.split folds or "
        f"inner, which keep groups together"
    )


def check_not_empty(
    index: RowIndex, parts: Parts, classes: list[str] | None, where: str, rule: SplitRule
) -> None:
    """Raise :class:`DataError` if a part, or a class of a part, has no row.

    Args:
        classes: class names. None: labels are not read.
    """
    sizes = [int((parts == part).sum()) for part in range(len(PARTS))]
    described = ", ".join(f"{size} {name}" for name, size in zip(PARTS, sizes, strict=True))
    if min(sizes) == 0:
        raise DataError(
            f"{where}: data.split {rule} leaves {described} rows; no part may be empty: give other "
            f"folds, or another data.val_fraction"
        )
    if classes is None:
        return
    present = np.unique(index.label[parts != NONE])
    for number, name in enumerate(PARTS):
        missing = np.setdiff1d(present, index.label[parts == number])
        if len(missing):
            raise DataError(
                f"{where}: data.split {rule} leaves no {name} row of "
                f"{', '.join(classes[label] for label in missing)} ({described} rows); choose "
                f"other folds, ingest with fewer --folds, or use a scheme without rare classes"
            )
