"""Reading encoded images from a Parquet table, one cell at a time."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa

from ier_ray import storage
from ier_ray.data.shards import open_parquet


def read_cell(location: str, row_group: int, row: int) -> bytes:
    """One image of the column ``bytes``; empty if the cell is null."""
    content = _row_group(location, row_group, _version(location))[row].as_py()
    return bytes(content or b"")


def _version(location: str) -> tuple[int | None, int | None]:
    """Size and modification time, which tell a file from one that replaced it."""
    fs, path = storage.filesystem(location)
    info = fs.get_file_info(path)
    return info.size, info.mtime_ns


@lru_cache(maxsize=2)
def _row_group(
    location: str,
    row_group: int,
    version: tuple[int | None, int | None],  # noqa: ARG001 (part of the cache key)
) -> pa.ChunkedArray:
    """The images of one row group, the smallest unit that can be read."""
    with open_parquet(location) as file:
        return file.read_row_group(row_group, columns=["bytes"])["bytes"]
