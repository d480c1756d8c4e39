"""Batches of both domains for one rank, in a reproducible order.

This module plans which rows are read, in which order and on which rank; the ``execute`` argument
decides *where* they are read and decoded: in this process, or by Ray tasks on the cluster. Both
give the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ier_ray.data.balancing import hash_ids
from ier_ray.data.order import (
    Columns,
    EpochOrder,
    epoch_order,
    held_out_tasks,
    rank_tasks,
    steps_in,
)
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.provenance import DomainData, SeenRows, domain_data
from ier_ray.data.schema import Domain
from ier_ray.data.shards import RowReader
from ier_ray.data.splits import SplitIndex
from ier_ray.emotions import EmotionScheme

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
    balance: Mapping[Domain, float] = field(default_factory=lambda: {"fer": 1.0, "ier": 1.0})
    """Strength of class balancing in each domain; with 0, no label is read for the order."""
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
            domain: self._batches(split, self._order(domain, epoch), steps)
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
    def data(self) -> dict[Domain, DomainData]:
        """The record of each domain's data."""
        records: dict[Domain, DomainData] = {}
        for domain, split in self.splits.items():
            records[domain] = domain_data(
                split, balance=self.balance[domain], source=records.get("fer")
            )
        return records

    @property
    def splits(self) -> dict[Domain, SplitIndex]:
        """The rows of each domain that is present."""
        both: dict[Domain, SplitIndex | None] = {"fer": self.fer, "ier": self.ier}
        return {domain: split for domain, split in both.items() if split is not None}

    @property
    def scheme(self) -> EmotionScheme:
        """The label scheme, the same in all domains."""
        return self.splits[self._paced].shards.scheme

    @property
    def _paced(self) -> Domain:
        """The domain whose rows an epoch passes over."""
        *_, last = self.splits
        return last

    @cached_property
    def seen(self) -> SeenRows:
        """The training and validation rows of all domains."""
        return SeenRows.of(self.splits)

    def _order(self, domain: Domain, epoch: int) -> EpochOrder:
        return epoch_order(
            self.splits[domain].train,
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
                keys=torch.as_tensor(hash_ids(rows["sample_id"].tolist()).astype(np.int64)),
            )
