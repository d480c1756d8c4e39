"""Reads of shard sets from a process's memory: each image is read and decoded once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ier_ray.data.order import Columns
from ier_ray.data.shards import RowReader, open_parquet
from ier_ray.data.streams import read_locally, rebatch

CAPACITY_BYTES = 2**30
"""Decoded images that a process keeps; readers of more read their files each time."""

Rows = dict[str, NDArray[Any]]


class MemoryReads:
    """Runs read tasks (:data:`~ier_ray.data.streams.ExecuteReads`) from decoded files in memory.

    Batches are those of :func:`~ier_ray.data.streams.read_locally`. Not with captions, which are
    read in the usual way.
    """

    def __init__(self, capacity: int = CAPACITY_BYTES) -> None:
        self.capacity = capacity
        self.held = 0
        self._files: dict[tuple[str, int], tuple[NDArray[np.int64], Rows]] = {}

    def __call__(
        self, reader: RowReader, tasks: list[Columns], batch_size: int
    ) -> Iterator[dict[str, Any]]:
        """The tasks' rows, in order, in batches."""
        if type(reader) is not RowReader or not self._keep(reader):
            yield from read_locally(reader, tasks, batch_size)
            return
        blocks = (self._rows(reader, columns) for columns in tasks)
        yield from rebatch(blocks, batch_size)

    def _keep(self, reader: RowReader) -> bool:
        """Decode the reader's files that are not kept yet; False where there is no room."""
        for file in reader.files:
            if (file, reader.image_size) in self._files:
                continue
            with open_parquet(file) as parquet:
                groups = range(parquet.num_row_groups)
                sizes = [parquet.metadata.row_group(number).num_rows for number in groups]
            needed = sum(sizes) * reader.row_bytes
            if self.held + needed > self.capacity:
                return False
            positions = {
                "file": np.zeros(sum(sizes), dtype=np.int32),
                "row_group": np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
                "row": np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]),
            }
            alone = RowReader((file,), reader.classes, reader.image_size)
            parts = list(alone.read(positions))
            rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
            self._files[file, reader.image_size] = starts, rows
            self.held += needed
        return True

    def _rows(self, reader: RowReader, columns: Columns) -> Rows:
        found: Rows = {}
        for number in np.unique(columns["file"]):
            starts, rows = self._files[reader.files[number], reader.image_size]
            here = np.flatnonzero(columns["file"] == number)
            at = starts[columns["row_group"][here]] + columns["row"][here]
            for name, column in rows.items():
                if name not in found:
                    kind = column.dtype if name != "sample_id" else object
                    found[name] = np.empty((len(columns["file"]), *column.shape[1:]), dtype=kind)
                found[name][here] = column[at]
        return found
