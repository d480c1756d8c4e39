"""Batches of both domains for one rank, in a reproducible order.

This module plans which rows are read, in which order and on which rank; the ``execute`` argument
decides *where* they are read and decoded: in this process, or by Ray tasks on the cluster. Both
give the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ier_ray.data.balancing import uniforms
from ier_ray.data.order import (
    Columns,
    EpochOrder,
    epoch_order,
    held_out_tasks,
    rank_tasks,
    steps_in,
)
from ier_ray.data.parts import PARTS, SplitPlan
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.schema import Domain
from ier_ray.data.shards import RowIndex, RowReader, ShardSet

ExecuteReads = Callable[[RowReader, list[Columns], int], Iterator[dict[str, Any]]]
"""Runs read tasks and yields their rows, in order, in batches of a given size."""


@dataclass(frozen=True)
class Batch:
    """Images uint8 ``(N, S, S, 3)`` or token ids int64 ``(N, L)``, and labels ``(N,)``."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class JointBatch:
    """One step's input: a batch of each domain."""

    fer: Batch
    ier: Batch


@dataclass(frozen=True)
class SplitIndex:
    """A domain's rows, divided into training, validation and test.

    ``files`` is the list that the column ``file`` of the rows numbers: the files of the domain's
    own shard set, then those of one that was mixed in.
    """

    shards: ShardSet
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
        index, manifest = shards.index(), shards.manifest
        parts = plan.parts(
            index, folds=manifest.folds, classes=manifest.classes, where=shards.location
        )
        return cls(
            shards, shards.files, *(index.select(parts == part) for part in range(len(PARTS)))
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


def read_locally(
    reader: RowReader, tasks: list[Columns], batch_size: int
) -> Iterator[dict[str, Any]]:
    """Run read tasks in this process."""
    return rebatch((rows for task in tasks for rows in reader.read(task)), batch_size)


def rebatch(blocks: Iterable[dict[str, Any]], batch_size: int) -> Iterator[dict[str, Any]]:
    """Regroup blocks of rows into batches; the last may be smaller."""
    held: dict[str, Any] | None = None
    for block in blocks:
        held = (
            block
            if held is None
            else {name: np.concatenate([held[name], block[name]]) for name in block}
        )
        start, rows = 0, len(held["label"])
        while rows - start >= batch_size:
            yield {name: column[start : start + batch_size] for name, column in held.items()}
            start += batch_size
        held = {name: column[start:] for name, column in held.items()}
    if held is not None and len(held["label"]):
        yield held


@dataclass(frozen=True)
class JointStreams:
    """Training and validation batches of one rank.

    An epoch is one pass over the balanced IER rows. FER rows have their own seeded order, which is
    truncated or repeated to the same length. Every rank takes the same number of steps.
    """

    fer: SplitIndex
    ier: SplitIndex
    preprocessing: Preprocessing
    batch_size: int
    seed: int
    balance: Mapping[Domain, float] = field(default_factory=lambda: {"fer": 1.0, "ier": 1.0})
    """Strength of class balancing in each domain; with 0, no label is read for the order."""
    window: int = 4
    rank: int = 0
    world_size: int = 1
    execute: ExecuteReads = field(default=read_locally)

    def steps(self, epoch: int) -> int:
        """Steps per epoch, the same on every rank."""
        return steps_in(
            self._order("ier", epoch), world_size=self.world_size, batch_size=self.batch_size
        )

    def train(self, epoch: int) -> Iterator[JointBatch]:
        """The epoch's batches, ``steps(epoch)`` of them."""
        ier_order = self._order("ier", epoch)
        steps = steps_in(ier_order, world_size=self.world_size, batch_size=self.batch_size)
        fer = self._batches(self.fer, self._order("fer", epoch), steps)
        ier = self._batches(self.ier, ier_order, steps)
        for fer_batch, ier_batch in zip(fer, ier, strict=True):
            yield JointBatch(fer_batch, ier_batch)

    def validation(self, domain: Domain) -> Iterator[Batch]:
        """This rank's part of the validation rows; each row occurs once over all ranks."""
        split: SplitIndex = getattr(self, domain)
        tasks = held_out_tasks(
            split.validation, rank=self.rank, world_size=self.world_size, window=self.window
        )
        return self._run(split, tasks)

    def _order(self, domain: Domain, epoch: int) -> EpochOrder:
        split: SplitIndex = getattr(self, domain)
        return epoch_order(
            split.train,
            seed=self.seed,
            epoch=epoch,
            balance=self.balance[domain],
            window=self.window,
        )

    def _batches(self, split: SplitIndex, order: EpochOrder, steps: int) -> Iterator[Batch]:
        tasks = rank_tasks(
            split.train,
            order,
            rank=self.rank,
            world_size=self.world_size,
            batch_size=self.batch_size,
            steps=steps,
        )
        return self._run(split, tasks)

    def _run(self, split: SplitIndex, tasks: list[Columns]) -> Iterator[Batch]:
        reader = self.preprocessing.reader(split.files, split.shards.scheme.classes)
        for rows in self.execute(reader, tasks, self.batch_size):
            yield Batch(
                images=torch.as_tensor(np.array(rows["image"])),
                labels=torch.as_tensor(np.array(rows["label"])),
            )
