"""The order of samples: a pure function of (seed, epoch), split evenly over ranks.

Row groups are visited in a seeded order; the rows of ``window`` consecutive row groups are
shuffled together. A read task is at most one window, which its reader holds in memory, so
streaming needs neither a shuffle buffer nor a global shuffle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ier_ray.data.balancing import repetitions
from ier_ray.data.shards import RowIndex

Columns = dict[str, NDArray[np.int32]]
"""A read task: ``file``, ``row_group`` and ``row`` of each row to read, in order."""


@dataclass(frozen=True)
class EpochOrder:
    """Row numbers of one epoch in training order, and the window of each row."""

    rows: NDArray[np.int64]
    window: NDArray[np.int64]

    def resized(self, length: int) -> EpochOrder:
        """Truncated, or repeated from the start, to ``length`` rows."""
        positions = np.arange(length) % len(self.rows)
        repeats = np.arange(length) // len(self.rows)
        windows = int(self.window.max()) + 1
        return EpochOrder(self.rows[positions], self.window[positions] + repeats * windows)


def epoch_order(
    index: RowIndex, *, seed: int, epoch: int, balance: float, window: int
) -> EpochOrder:
    """Balanced, shuffled row numbers of an epoch.

    Args:
        index: the training rows; not empty.
        balance: strength of class balancing (see :func:`ier_ray.data.balancing.class_weights`).
        window: row groups shuffled together.
    """
    repeats = repetitions(index.label, index.hash, strength=balance, seed=seed, epoch=epoch)
    rows = np.repeat(np.arange(len(index)), repeats)
    generator = np.random.default_rng((seed, epoch))
    _, group = np.unique(np.stack([index.file, index.row_group]), axis=1, return_inverse=True)
    group = group.reshape(-1)
    position = generator.permutation(int(group.max()) + 1)
    windows = position[group[rows]] // window
    shuffled = generator.permutation(len(rows))
    order = shuffled[np.argsort(windows[shuffled], kind="stable")]
    return EpochOrder(rows[order], windows[order])


def steps_in(order: EpochOrder, *, world_size: int, batch_size: int) -> int:
    """Steps that every rank takes so that each row of the order is used at least once."""
    return math.ceil(len(order.rows) / (world_size * batch_size))


def rank_tasks(
    index: RowIndex,
    order: EpochOrder,
    *,
    rank: int,
    world_size: int,
    batch_size: int,
    steps: int,
) -> list[Columns]:
    """Read tasks of one rank, in order: exactly ``steps * batch_size`` rows in total."""
    rank_rows = steps * batch_size
    resized = order.resized(rank_rows * world_size)
    own = slice(rank * rank_rows, (rank + 1) * rank_rows)
    return _tasks(index, resized.rows[own], resized.window[own])


def held_out_tasks(index: RowIndex, *, rank: int, world_size: int, window: int) -> list[Columns]:
    """Read tasks for one rank's part of the rows, each row once, in file order."""
    rows = np.array_split(np.arange(len(index)), world_size)[rank]
    group = np.stack([index.file, index.row_group])[:, rows]
    starts = np.any(np.diff(group, axis=1) != 0, axis=0)
    windows = np.concatenate([[0], np.cumsum(starts)])[: len(rows)] // window
    return _tasks(index, rows, windows)


def _tasks(index: RowIndex, rows: NDArray[np.int64], window: NDArray[np.int64]) -> list[Columns]:
    if not len(rows):
        return []
    borders = np.flatnonzero(np.diff(window)) + 1
    return [
        {"file": index.file[part], "row_group": index.row_group[part], "row": index.row[part]}
        for part in np.split(rows, borders)
    ]
