"""The order of samples: a pure function of (seed, epoch), split evenly over ranks.

Row groups are visited in a seeded order; the rows of ``window`` consecutive row groups are
shuffled together. A window is what a reader holds in memory, and a read task is never more than
one window, so streaming needs no shuffle buffer of its own and no global shuffle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ier_ray.data.balancing import repetitions
from ier_ray.data.shards import RowIndex

Columns = dict[str, NDArray[np.int32]]


@dataclass(frozen=True)
class EpochOrder:
    """Row numbers of one epoch in training order, and the window each belongs to."""

    rows: NDArray[np.int64]
    window: NDArray[np.int64]

    def resized(self, length: int) -> EpochOrder:
        """Cut, or continued from its own start, to ``length`` rows."""
        places = np.arange(length) % len(self.rows)
        laps = np.arange(length) // len(self.rows)
        windows = int(self.window.max()) + 1
        return EpochOrder(self.rows[places], self.window[places] + laps * windows)


def epoch_order(
    index: RowIndex, *, seed: int, epoch: int, balance: float, window: int
) -> EpochOrder:
    """Balanced, shuffled row numbers of an epoch.

    Args:
        index: the rows to draw from, not empty.
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
    """Steps every rank takes so that each row of the order is used at least once."""
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
    """Read tasks of one rank: together exactly ``steps * batch_size`` rows, in order."""
    share = steps * batch_size
    whole = order.resized(share * world_size)
    mine = slice(rank * share, (rank + 1) * share)
    return _tasks(index, whole.rows[mine], whole.window[mine])


def held_out_tasks(index: RowIndex, *, rank: int, world_size: int, window: int) -> list[Columns]:
    """Read tasks of one rank's part of all rows, each once, in the order of the files."""
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
