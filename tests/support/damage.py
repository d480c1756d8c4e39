"""Shard sets that were damaged after ingest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

KEPT_BYTES = 60


def with_damaged_images(location: str, copy: Path) -> list[str]:
    """Copy a shard set and cut every image off; returns the ids of the samples."""
    ids: list[str] = []
    for path in copied(location, copy):
        table = pq.read_table(path)
        column = table.schema.get_field_index("image")
        cut = [image[:KEPT_BYTES] for image in table["image"].to_pylist()]
        field = table.schema.field(column)
        pq.write_table(table.set_column(column, field, pa.array(cut, field.type)), path)
        ids.extend(table["sample_id"].to_pylist())
    return ids


def with_damaged_pages(location: str, copy: Path) -> list[str]:
    """Copy a shard set and overwrite the images of every row group; returns the files."""
    files = copied(location, copy)
    for path in files:
        content = bytearray(path.read_bytes())
        metadata = pq.ParquetFile(path).metadata
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                if column.path_in_schema == "image":
                    start = column.data_page_offset
                    content[start : start + KEPT_BYTES] = b"\xff" * KEPT_BYTES
        path.write_bytes(content)
    return [str(path) for path in files]


def copied(location: str, copy: Path) -> list[Path]:
    shutil.copytree(location, copy)
    return sorted(copy.rglob("*.parquet"))
