"""Batches of both domains for one rank, in a reproducible order.

This module plans which rows are read, in which order and on which rank; the ``execute`` argument
decides *where* they are read and decoded: in this process, or by Ray tasks on the cluster. Both
give the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ier_ray.data.balancing import hash_ids, uniforms
from ier_ray.data.order import (
    Columns,
    EpochOrder,
    epoch_order,
    held_out_tasks,
    rank_tasks,
    steps_in,
)
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.schema import Domain
from ier_ray.data.shards import RowIndex, RowReader, ShardSet
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError

ExecuteReads = Callable[[RowReader, list[Columns], int], Iterator[dict[str, Any]]]
"""Runs read tasks and yields their rows, in order, in batches of a given size."""


@dataclass(frozen=True)
class Batch:
    """Images uint8 ``(N, S, S, 3)`` or token ids int64 ``(N, L)``, and labels ``(N,)``."""

    images: Tensor
    labels: Tensor
    keys: Tensor | None = None
    """Hashes of the sample ids, int64 ``(N,)``; None where samples have no ids."""

    def empty(self) -> Batch:
        """A batch of no samples."""
        return Batch(self.images[:0], self.labels[:0])


@dataclass(frozen=True)
class JointBatch:
    """One step's input: a batch of each domain."""

    fer: Batch
    ier: Batch


@dataclass(frozen=True)
class SplitIndex:
    """A domain's rows, split into training and validation.

    ``files`` is the list that the column ``file`` of the rows numbers: the files of the domain's
    own shard set, then those of one that was mixed in.
    """

    shards: ShardSet
    files: tuple[str, ...]
    train: RowIndex
    validation: RowIndex

    @classmethod
    def read(cls, shards: ShardSet, *, val_fold: int) -> SplitIndex:
        """Split by fold: ``val_fold`` is for validation.

        Raises:
            DataError: when the fold does not exist or one side of the split is empty.
        """
        folds = shards.manifest.folds
        if val_fold >= folds:
            raise DataError(
                f"data.val_fold is {val_fold}, but {shards.location} has folds 0 to {folds - 1}"
            )
        index = shards.index()
        held_out = index.fold == val_fold
        split = cls(shards, shards.files, index.select(~held_out), index.select(held_out))
        if not len(split.train) or not len(split.validation):
            raise DataError(
                f"{shards.location}: data.val_fold {val_fold} leaves {len(split.train)} rows to "
                f"train on and {len(split.validation)} to validate on; neither may be empty"
            )
        return split

    def mixed_with(self, other: SplitIndex, *, fraction: float, seed: int) -> SplitIndex:
        """This split with a fraction of another domain's training rows added (paper's Table 5).

        The same fraction of every class is drawn. With the same seed, a larger fraction contains
        all rows of a smaller one. The validation rows remain the domain's own.
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

    One domain may be absent: its batches are empty, and without IER rows an epoch is a pass over
    the FER rows.
    """

    fer: SplitIndex | None
    ier: SplitIndex | None
    preprocessing: Preprocessing
    batch_size: int
    seed: int
    balance: float = 1.0
    window: int = 4
    rank: int = 0
    world_size: int = 1
    execute: ExecuteReads = field(default=read_locally)

    def steps(self, epoch: int) -> int:
        """Steps per epoch, the same on every rank."""
        return steps_in(
            self._order(self._paced, epoch),
            world_size=self.world_size,
            batch_size=self.batch_size,
        )

    def train(self, epoch: int) -> Iterator[JointBatch]:
        """The epoch's batches, ``steps(epoch)`` of them."""
        steps = self.steps(epoch)
        batches = {
            domain: self._batches(split, self._order(split, epoch), steps)
            for domain, split in self.splits.items()
        }
        for found in zip(*batches.values(), strict=True):
            given = dict(zip(batches, found, strict=True))
            nothing = found[0].empty()
            yield JointBatch(given.get("fer", nothing), given.get("ier", nothing))

    def validation(self, domain: Domain) -> Iterator[Batch]:
        """This rank's part of the validation rows; each row occurs once over all ranks."""
        split = self.splits[domain]
        tasks = held_out_tasks(
            split.validation, rank=self.rank, world_size=self.world_size, window=self.window
        )
        return self._run(split, tasks)

    @cached_property
    def data_hashes(self) -> dict[str, str]:
        """Content hash of each domain's shard set."""
        return {domain: split.shards.manifest.content_hash for domain, split in self.splits.items()}

    @property
    def splits(self) -> dict[Domain, SplitIndex]:
        """The rows of each domain that is present."""
        both: dict[Domain, SplitIndex | None] = {"fer": self.fer, "ier": self.ier}
        return {domain: split for domain, split in both.items() if split is not None}

    @property
    def scheme(self) -> EmotionScheme:
        """The label scheme, the same in all domains."""
        return self._paced.shards.scheme

    @property
    def _paced(self) -> SplitIndex:
        """The rows that an epoch passes over."""
        *_, last = self.splits.values()
        return last

    def _order(self, split: SplitIndex, epoch: int) -> EpochOrder:
        return epoch_order(
            split.train, seed=self.seed, epoch=epoch, balance=self.balance, window=self.window
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
                keys=torch.as_tensor(hash_ids(rows["sample_id"].tolist()).astype(np.int64)),
            )
