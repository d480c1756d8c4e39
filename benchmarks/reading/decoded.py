"""Rows of shard sets that are decoded once and then read from memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ier_ray.data.order import Columns
from ier_ray.data.shards import RowReader, ShardSet


@dataclass(frozen=True)
class Held:
    """Decoded rows of a shard set, by file, row group and row."""

    rows: dict[str, Any]
    place: dict[tuple[int, int, int], int]

    @classmethod
    def read(cls, shards: ShardSet, size: int) -> Held:
        """All rows of a shard set, images resized to ``size``."""
        columns = shards.index().positions
        parts = list(RowReader.of(shards, size).read(columns))
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return cls(rows, {key: number for number, key in enumerate(keys_of(columns))})

    def select(self, columns: Columns) -> dict[str, Any]:
        """The rows at some positions."""
        chosen = [self.place[key] for key in keys_of(columns)]
        return {name: rows[chosen] for name, rows in self.rows.items()}


def keys_of(columns: Columns) -> Iterator[tuple[int, int, int]]:
    names = ("file", "row_group", "row")
    return zip(*(columns[name].tolist() for name in names), strict=True)


@dataclass(frozen=True)
class FromMemory:
    """Runs read tasks on decoded rows."""

    held: dict[tuple[str, ...], Held]

    def __call__(
        self, reader: RowReader, tasks: list[Columns], batch_size: int
    ) -> Iterator[dict[str, Any]]:
        held = self.held[reader.files]
        wanted = [held.place[key] for task in tasks for key in keys_of(task)]
        for start in range(0, len(wanted), batch_size):
            yield {n: rows[wanted[start : start + batch_size]] for n, rows in held.rows.items()}
