"""The rows of a domain, divided into training, validation and test; and mixing of domains."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ier_ray.data.balancing import uniforms
from ier_ray.data.parts import SplitPlan
from ier_ray.data.schema import PARTS
from ier_ray.data.shards import RowIndex, ShardSet


@dataclass(frozen=True)
class SplitIndex:
    """A domain's rows, divided into training, validation and test.

    ``files`` is the list that the column ``file`` of the rows numbers: the files of the domain's
    own shard set, then those of one that was mixed in.
    """

    shards: ShardSet
    plan: SplitPlan
    """How the rows were divided."""
    files: tuple[str, ...]
    train: RowIndex
    validation: RowIndex
    test: RowIndex

    @classmethod
    def read(cls, shards: ShardSet, plan: SplitPlan) -> SplitIndex:
        """Read the index of a shard set and divide it.

        Raises:
            DataError: as :meth:`SplitPlan.parts`.
        """
        index = shards.index()
        parts = plan.parts(index, shards)
        return cls(
            shards, plan, shards.files, *(index.select(parts == part) for part in range(len(PARTS)))
        )

    def mixed_with(self, other: SplitIndex, *, fraction: float, seed: int) -> SplitIndex:
        """This split with a fraction of another domain's training rows added (paper's Table 5).

        The same fraction of every class is drawn. With the same seed, a larger fraction contains
        all rows of a smaller one. Validation and test rows remain the domain's own.
        """
        drawn = other.train.select(stratified_mask(other.train, fraction, seed=seed))
        moved = replace(drawn, file=drawn.file + np.int32(len(self.files)))
        return replace(
            self,
            files=self.files + other.files,
            train=RowIndex.concatenated([self.train, moved]),
        )


def stratified_mask(index: RowIndex, fraction: float, *, seed: int) -> NDArray[np.bool_]:
    """True for a fraction of the rows of each class; a pure function of (seed, sample)."""
    rank = np.empty(len(index), dtype=np.int64)
    draw = uniforms(index.hash, seed=seed, epoch=0)
    for label in np.unique(index.label):
        rows = np.flatnonzero(index.label == label)
        rank[rows[np.argsort(draw[rows], kind="stable")]] = np.arange(len(rows))
    wanted = np.rint(fraction * np.bincount(index.label)).astype(np.int64)
    chosen: NDArray[np.bool_] = rank < wanted[index.label]
    return chosen
