"""Labels shared by several datasets: Mikels' emotions, and reading tables of labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from ier_ray import storage
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


def read_delimited(location: str) -> tuple[list[str], list[dict[str, str]]]:
    """Read column names (in lower case) and rows of a comma, semicolon or tab separated file.

    Raises:
        DataError: when the file is not such a table in UTF-8.
    """
    try:
        text = storage.read_bytes(location).decode("utf-8-sig")
        header = text.partition("\n")[0]
        delimiter = max(",;\t", key=header.count)
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{location}: not a table of comma, semicolon or tab separated UTF-8 text: {error}"
        ) from error
    columns = [name.strip().lower() for name in lines[0]] if lines else []
    padding = [""] * len(columns)
    rows = [
        dict(zip(columns, [*map(str.strip, line), *padding], strict=False))
        for line in lines[1:]
        if any(map(str.strip, line))
    ]
    return columns, rows


def first_column(columns: Sequence[str], accepted: Sequence[str]) -> str | None:
    """The first of the accepted names that a table has."""
    return next((name for name in accepted if name in columns), None)


def agreed_label(labels: Iterable[str]) -> str:
    """The label of an image that several rows label.

    If they disagree, all labels joined by `` | ``: no scheme has that label, so ingest drops the
    image and counts it under the joined label.
    """
    return " | ".join(sorted(set(labels)))
