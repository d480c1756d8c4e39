"""Any dataset described by a CSV or Parquet table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ier_ray.data.schema import Domain
from ier_ray.data.sources.annotations import agreed_label, read_delimited
from ier_ray.data.sources.base import Listed, Loaded
from ier_ray.data.sources.folders import TABLE_SUFFIXES, DatasetFolder
from ier_ray.data.sources.parquet import OPTIONAL, TableRow, load_cell, parquet_rows
from ier_ray.data.sources.paths import load_named, same_path
from ier_ray.data.sources.splits import split_in_cell
from ier_ray.errors import DataError


@dataclass(frozen=True)
class TableSource:
    """Columns ``label`` and ``path``, or in Parquet ``bytes`` or ``image``; optional others.

    ``root`` is the path or URI of the table. ``path`` holds absolute paths, URIs, or paths relative
    to the table's folder. A locator is such a path, or the cell of the bytes.

    Optional are ``group``, ``id`` and ``split``. Without ``id``, rows with the same path are one
    sample. ``split`` is the dataset's own part: train, val, test, or a synonym as validation.
    """

    root: str
    domain: Domain
    name: str = "table"
    recognized: str = field(default="", repr=False, compare=False, kw_only=True)
    """Why the folder was taken for a table, if nobody said so; for messages."""

    looked_for: ClassVar[str] = (
        "one .csv, .tsv or .parquet with the columns label and path, or in Parquet bytes or image"
    )

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """The only table that the folder itself holds."""
        tables = tables_among(folder.others)
        return f"{tables[0]} is the only table in it" if len(tables) == 1 else None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domain that the user named."""
        return (self.domain,)

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List the samples in the order of the table.

        Raises:
            DataError: when the table cannot be read, lacks a column, has an unknown split, or two
                splits for one sample.
        """
        samples: dict[int | str, tuple[Listed, set[str]]] = {}
        for number, row in enumerate(_rows(self.root)):
            locator = row.locator or f"(no path in row {number})"
            sample_id = f"{self.name}/{row.id or locator}"
            split = split_in_cell(row.split, self.root, number)
            sample = Listed(sample_id, row.label, row.group or sample_id, locator, split=split)
            # Ingest rejects duplicate ids.
            unique = number if row.id else same_path(locator)
            first, labels = samples.setdefault(unique, (sample, set()))
            labels.add(row.label)
            if first.split != split:
                raise DataError(
                    f"{self.root}: row {number} has split {split}, but an earlier row of "
                    f"{locator!r} has {first.split}; give all rows of an image one split"
                )
        for sample, labels in samples.values():
            yield sample._replace(source_label=agreed_label(labels))

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Load the unchanged image file, or the bytes in the table.

        Raises:
            ImageError: when the file is missing.
        """
        if _is_parquet(self.root):
            return load_cell(self.root, sample.locator)
        return load_named(sample.locator, self.root.rpartition("/")[0])


def tables_among(files: Iterable[str], suffixes: tuple[str, ...] = TABLE_SUFFIXES) -> list[str]:
    """The tables directly in a folder, not in its subfolders."""
    return [path for path in files if "/" not in path and path.lower().endswith(suffixes)]


def _is_parquet(location: str) -> bool:
    return location.lower().endswith(".parquet")


def _rows(location: str) -> Iterator[TableRow]:
    if _is_parquet(location):
        yield from parquet_rows(location)
        return
    columns, rows = read_delimited(location)
    missing = [name for name in ("label", "path") if name not in columns]
    if missing:
        raise DataError(f"{location}: lacks the columns {missing}, has {columns}")
    for row in rows:
        optional = {name: row.get(name, "") for name in OPTIONAL}
        yield TableRow(row["label"], row["path"], **optional)
