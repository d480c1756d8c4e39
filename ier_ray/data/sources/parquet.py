"""Parquet tables of labels and paths or encoded images, also as Hugging Face's datasets write them.

Names of columns are compared without regard to case. Images are in a column ``bytes``, or ``image``
of bytes or of structs with the fields ``bytes`` and ``path``; or only named in a column ``path``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from ier_ray import storage
from ier_ray.data.shards import open_parquet
from ier_ray.data.sources.annotations import column_names
from ier_ray.data.sources.base import Loaded
from ier_ray.data.sources.paths import load_named
from ier_ray.errors import DataError

IMAGE_COLUMNS = ("bytes", "image", "img")
OPTIONAL = ("group", "id", "split")

_CELL = re.compile(r"(\d+):(\d+)")


@dataclass(frozen=True)
class TableRow:
    """One row, without its image."""

    label: str
    locator: str
    """``row_group:row`` of the image, or its path."""
    group: str
    id: str
    split: str


def parquet_rows(location: str) -> Iterator[TableRow]:
    """The rows of a table.

    Raises:
        DataError: when the file is no Parquet, or lacks a column, or one is of a wrong type.
    """
    with open_parquet(location) as file:
        schema = file.schema_arrow
        actual = _columns(schema)
        image = _image_column(schema)
        label = actual.get("label", actual.get("labels"))
        found = {"label": label, image or "path": image or actual.get("path")}
        missing = [name for name, column in found.items() if column is None]
        if label is None or missing:
            raise DataError(f"{location}: lacks the columns {missing}, has {schema.names}")
        _check_types(location, schema, label, image, actual)
        names = class_names(location, schema, label)
        named = {name: actual[name] for name in OPTIONAL if name in actual}
        if image is None:
            named["path"] = actual["path"]
        for group in range(file.num_row_groups):
            cells = file.read_row_group(group, [label, *named.values()]).to_pylist()
            for number, row in enumerate(cells):
                values = {name: _text(row[column]) for name, column in named.items()}
                locator = values.pop("path", "") if image is None else f"{group}:{number}"
                optional = {name: values.get(name, "") for name in OPTIONAL}
                yield TableRow(_label(row[label], names), locator, **optional)


def _columns(schema: pa.Schema) -> dict[str, str]:
    """The columns by their names in lower case; of names that are equal then, the first."""
    last_first = schema.names[::-1]
    return dict(zip(column_names(last_first), last_first, strict=True))


def _image_column(schema: pa.Schema) -> str | None:
    columns = _columns(schema)
    return next((columns[name] for name in IMAGE_COLUMNS if name in columns), None)


def class_names(location: str, schema: pa.Schema, column: str) -> dict[int, str]:
    """The names that Hugging Face's datasets give to the numbers of a label column.

    Raises:
        DataError: when the schema's metadata cannot be read.
    """
    written = (schema.metadata or {}).get(b"huggingface")
    if written is None:
        return {}
    try:
        names = json.loads(written)["info"]["features"][column].get("names") or {}
        numbered = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in numbered}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{location}: the names of column {column!r} in the schema's metadata 'huggingface' "
            f"cannot be read: {error!r}"
        ) from error


def _check_types(
    location: str, schema: pa.Schema, label: str, image: str | None, actual: dict[str, str]
) -> None:
    expected = [(label, _is_label, "text or whole numbers")]
    if image is not None:
        expected.append((image, _holds_images, "encoded images (binary, or structs of bytes)"))
    else:
        expected.append((actual["path"], _is_text, "text"))
    for column, fits, wanted in expected:
        if not fits(schema.field(column).type):
            raise DataError(
                f"{location}: column {column!r} is of type {schema.field(column).type}, but must "
                f"be {wanted}"
            )


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pat.is_dictionary(kind) else kind
    return bool(pat.is_string(inner) or pat.is_large_string(inner) or pat.is_string_view(inner))


def _is_label(kind: pa.DataType) -> bool:
    inner = kind.value_type if pat.is_dictionary(kind) else kind
    return _is_text(kind) or bool(
        pat.is_integer(inner) or pat.is_floating(inner) or pat.is_null(inner)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return any(
        is_one(kind)
        for is_one in (
            pat.is_binary,
            pat.is_large_binary,
            pat.is_fixed_size_binary,
            pat.is_binary_view,
        )
    )


def _holds_images(kind: pa.DataType) -> bool:
    if not pat.is_struct(kind):
        return _is_bytes(kind)
    index = kind.get_field_index("bytes")
    return index >= 0 and _is_bytes(kind.field(index).type)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _label(cell: object, names: dict[int, str]) -> str:
    if isinstance(cell, float) and cell.is_integer():  # numbers beside nulls
        cell = int(cell)
    return names.get(cell, str(cell)) if isinstance(cell, int) else _text(cell)


def load_cell(location: str, locator: str) -> Loaded:
    """Load the image in a cell, or the file that the cell or the locator names.

    Raises:
        ImageError: when the file is missing.
    """
    folder = location.rpartition("/")[0]
    match = _CELL.fullmatch(locator)
    cells = _row_group(location, int(match[1]), _version(location)) if match else None
    if match is None or cells is None:
        return load_named(locator, folder)
    cell = cells[int(match[2])].as_py()
    if isinstance(cell, dict) and cell["bytes"] is None and cell.get("path"):
        return load_named(cell["path"], folder)
    content: Any = cell["bytes"] if isinstance(cell, dict) else cell
    return Loaded(bytes(content or b""), None)


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
) -> pa.ChunkedArray | None:
    """The images of one row group, the smallest unit that can be read; None if there are none."""
    with open_parquet(location) as file:
        column = _image_column(file.schema_arrow)
        if column is None:
            return None
        return file.read_row_group(row_group, columns=[column])[column]
