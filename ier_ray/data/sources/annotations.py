"""Labels shared by several datasets: Mikels' emotions, and reading tables of labels."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Sequence

from ier_ray import storage
from ier_ray.emotions import same_emotion
from ier_ray.errors import DataError

MIKELS = (
    "amusement",
    "anger",
    "awe",
    "contentment",
    "disgust",
    "excitement",
    "fear",
    "sad",
    "sadness",
)
"""Mikels' eight emotions; sadness under both of its names."""

MIKELS_ONLY = frozenset({"amusement", "awe", "contentment", "excitement"})
"""Mikels' emotions that no facial expression dataset has."""


UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""How a text in UTF-16 begins."""


def decoded(content: bytes, location: str) -> str:
    """A text in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Raises:
        DataError: for any other encoding, naming the one that was tried.
    """
    encoding = "utf-16" if content.startswith(UTF_16) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-sig").upper()
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{location}: not a text in {name}, which was tried: byte {error.start} "
            f"(0x{content[error.start]:02x}, line {line}) is not; save the file as UTF-8"
        ) from error


def read_delimited(location: str) -> tuple[list[str], list[dict[str, str]]]:
    """Read column names (in lower case) and rows of a comma, semicolon or tab separated file.

    Raises:
        DataError: when the file is not such a table.
    """
    text = decoded(storage.read_bytes(location), location)
    try:
        rows_of_cells = csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter_of(text), strict=True
        )
        lines = list(rows_of_cells)
    except csv.Error as error:
        raise DataError(
            f"{location}: not a table of comma, semicolon or tab separated text: {error}"
        ) from error
    columns = column_names(lines[0]) if lines else []
    padding = [""] * len(columns)
    rows = [
        dict(zip(columns, [*map(str.strip, line), *padding], strict=False))
        for line in lines[1:]
        if any(map(str.strip, line))
    ]
    return columns, rows


def delimiter_of(text: str) -> str:
    """The comma, semicolon or tab: whichever is most frequent in the first line."""
    return max(",;\t", key=text.partition("\n")[0].count)


def column_names(header: Iterable[str]) -> list[str]:
    """Names of columns as they are compared: without blanks around them, in lower case."""
    return [name.strip().lower() for name in header]


def first_column(columns: Sequence[str], accepted: Sequence[str]) -> str | None:
    """The first of the accepted names that a table has."""
    return next((name for name in accepted if name in columns), None)


def agreed_label(labels: Iterable[str]) -> str:
    """The label of an image that several rows label.

    If they mean different emotions, all labels joined by `` | ``: no scheme has that label, so
    ingest drops the image and counts it under the joined label.
    """
    by_emotion = {same_emotion(label): label for label in sorted(labels, reverse=True)}
    return " | ".join(sorted(by_emotion.values()))
