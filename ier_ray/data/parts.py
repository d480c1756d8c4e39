"""Training, validation and test: the three parts of a shard set, no row in two of them.

Training rows change the weights, validation rows choose (an epoch, a trial, when to stop), and test
rows do neither. A group (a subject, a series, copies of one picture) is in one part only.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ier_ray.config import Seed, Settings
from ier_ray.data.balancing import uniforms
from ier_ray.data.schema import PARTS
from ier_ray.data.shards import RowIndex, ShardSet
from ier_ray.errors import DataError

NONE, TRAIN, VAL, TEST = -1, 0, 1, 2
NAMED = 4
"""Samples that a message names."""

SplitRule = Literal["folds", "inner", "own"]


class SplitPlan(Settings):
    """How the rows of a shard set are divided into training, validation and test."""

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
    seed: Seed = 0
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

    def validation_fold(self, folds: int) -> int:
        """The validation part of ``folds`` folds."""
        return (self.test_fold + 1) % folds if self.val_fold is None else self.val_fold

    def parts(self, index: RowIndex, shards: ShardSet) -> Parts:
        """The part of each row of a shard set, whose index is given.

        Raises:
            DataError: when a fold does not exist, a part or a class of one is empty, or a group is
                in two parts.
        """
        parts = self._own(index, shards) if self.rule == "own" else self._by_fold(index, shards)
        check_groups(index, parts, shards)
        self._check_not_empty(index, parts, shards)
        return parts

    def _by_fold(self, index: RowIndex, shards: ShardSet) -> Parts:
        folds = shards.manifest.folds
        val_fold = self.validation_fold(folds)
        asked = {"data.test_fold": self.test_fold, "data.val_fold": val_fold}
        for name, fold in asked.items():
            if fold >= folds:
                raise DataError(
                    f"{name} is {fold}, but {shards.location} has folds 0 to {folds - 1}"
                )
        parts = np.full(len(index), TRAIN, dtype=np.int8)
        if self.rule == "folds":
            parts[index.fold == val_fold] = VAL
        else:
            parts[self._drawn(index, index.fold != self.test_fold)] = VAL
        parts[index.fold == self.test_fold] = TEST
        return parts

    def _own(self, index: RowIndex, shards: ShardSet) -> Parts:
        parts = index.split.astype(np.int8)
        if not np.any(parts == TEST):
            raise DataError(
                f"{shards.location}: data.split own needs a dataset with its own test part, but no "
                f"row has split test; use data.split folds or inner"
            )
        if not np.any(parts == VAL):
            parts[self._drawn(index, parts == TRAIN)] = VAL
        return parts

    def _check_not_empty(self, index: RowIndex, parts: Parts, shards: ShardSet) -> None:
        sizes = [int((parts == part).sum()) for part in range(len(PARTS))]
        described = ", ".join(f"{size} {name}" for name, size in zip(PARTS, sizes, strict=True))
        found = f"{shards.location}: data.split {self.rule} leaves {described} rows"
        if min(sizes) == 0:
            raise DataError(
                f"{found}; no part may be empty: choose other folds, ingest with more --folds, or "
                f"give another data.val_fraction"
            )
        if not self.reads_labels:
            return
        present = np.unique(index.label[parts != NONE])
        for number, name in enumerate(PARTS):
            missing = np.setdiff1d(present, index.label[parts == number])
            if len(missing):
                names = ", ".join(shards.manifest.classes[label] for label in missing)
                raise DataError(
                    f"{found}, but no {name} row of {names}; choose other folds, ingest with fewer "
                    f"--folds, or use a scheme without classes that are so rare"
                )

    def _drawn(self, index: RowIndex, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """True for the rows of ``val_fraction`` of the groups, drawn from the rows ``among``."""
        rows = np.flatnonzero(among)
        groups, first, member = np.unique(index.group[rows], return_index=True, return_inverse=True)
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


def check_groups(index: RowIndex, parts: Parts, shards: ShardSet) -> None:
    """Raise :class:`DataError` if the rows of a group are in two parts."""
    used = parts != NONE
    pairs = np.unique(np.stack([index.group[used], parts[used].astype(np.uint64)]), axis=1)
    groups, counts = np.unique(pairs[0], return_counts=True)
    divided = groups[counts > 1]
    if not len(divided):
        return
    rows = used & (index.group == divided[0])
    ids = shards.described(index.select(rows))["sample_id"].to_pylist()
    examples = [f"{name} ({PARTS[part]})" for name, part in zip(ids, parts[rows], strict=True)]
    raise DataError(
        f"{shards.location}: {len(divided)} groups are in two parts, among them the group of "
        f"{', '.join(examples[:NAMED])}: the dataset's own split divides a subject or the copies "
        f"of a picture; use data.split folds or inner, which keep groups together"
    )
