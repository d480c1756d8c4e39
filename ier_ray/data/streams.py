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

    @cached_property
    def data(self) -> dict[Domain, DomainData]:
        """The record of each domain's data."""
        fer = domain_data(self.fer, balance=self.balance["fer"])
        return {"fer": fer, "ier": domain_data(self.ier, balance=self.balance["ier"], source=fer)}

    @cached_property
    def seen(self) -> SeenRows:
        """The training and validation rows of both domains."""
        return SeenRows.of({"fer": self.fer, "ier": self.ier})

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
