"""Faces whose pixels are a field of a CSV file, as in FER2013's ``fer2013.csv``."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ier_ray import storage
from ier_ray.data.images import encode_png
from ier_ray.data.sources.annotations import UTF_16, column_names, decoded, delimiter_of
from ier_ray.errors import DataError, ImageError

SIDE = 48

_LOCATOR = re.compile(r".*:\d+:\d+:\d+:[,;\t]", re.DOTALL)


class PixelRow(NamedTuple):
    """One face of the file."""

    emotion: str
    usage: str
    locator: str
    """``offset:length:column:delimiter``: the bytes of the row, and which field the pixels are."""


def pixel_rows(location: str) -> Iterator[PixelRow]:
    """The rows of a table with the columns ``emotion`` and ``pixels``, perhaps ``Usage``.

    Raises:
        DataError: when the file is no such table in UTF-8.
    """
    content = storage.read_bytes(location)
    if content.startswith(UTF_16):
        raise DataError(f"{location}: a text in UTF-16; save the file as UTF-8")
    decoded(content, location)
    lines = _Lines(content)
    delimiter = delimiter_of(lines.first)
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    columns = column_names(next(records, []))
    if "emotion" not in columns or "pixels" not in columns:
        raise DataError(f"{location}: needs the columns emotion and pixels, has {columns}")
    emotion, pixels = columns.index("emotion"), columns.index("pixels")
    usage = columns.index("usage") if "usage" in columns else len(columns)
    while True:
        start = lines.consumed
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{location}: line {records.line_num}: {error}") from error
        if any(map(str.strip, fields)):
            locator = f"{start}:{lines.consumed - start}:{pixels}:{delimiter}"
            yield PixelRow(_field(fields, emotion), _field(fields, usage), locator)


class _Lines(Iterator[str]):
    """The lines of a text in UTF-8, and how many of its bytes were read."""

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)
        self.first = content.partition(b"\n")[0].decode()
        self.consumed = 0

    def __next__(self) -> str:
        line = self._stream.readline()
        if not line:
            raise StopIteration
        encoding = "utf-8" if self.consumed else "utf-8-sig"
        self.consumed += len(line)
        return line.decode(encoding)


def _field(fields: list[str], column: int) -> str:
    return fields[column].strip() if column < len(fields) else ""


def is_pixel_row(locator: str) -> bool:
    """Whether a locator is that of a row in a file, not the path of an image."""
    return _LOCATOR.fullmatch(locator) is not None


def read_pixels(root: str, locator: str) -> bytes:
    """The PNG of one row.

    Args:
        root: the folder of the file.
        locator: the file's path in the folder, ``:``, and the row's locator.

    Raises:
        ImageError: when the pixels are not 48x48 numbers up to 255.
    """
    table, offset, length, column, delimiter = locator.rsplit(":", 4)
    row = storage.read_range(storage.join(root, table), int(offset), int(length)).decode("utf-8")
    (fields,) = csv.reader(io.StringIO(row, newline=""), delimiter=delimiter, strict=True)
    numbers = _field(fields, int(column)).split()
    if len(numbers) != SIDE * SIDE:
        raise ImageError("truncated", f"{len(numbers)} pixels, a face has {SIDE}x{SIDE}")
    try:
        pixels = np.array(numbers, dtype=np.float64).reshape(SIDE, SIDE)
    except ValueError as error:
        raise ImageError("unidentified", f"pixels are not numbers: {error}") from error
    if not np.all((pixels >= 0) & (pixels <= 255) & (pixels == np.rint(pixels))):
        raise ImageError(
            "unidentified",
            f"pixels of {pixels.min():g}..{pixels.max():g}, not 0..255 in whole numbers",
        )
    return encode_png(pixels.astype(np.uint8))
