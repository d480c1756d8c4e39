"""Any dataset described by a CSV or Parquet table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.shards import open_parquet
from ier_ray.data.sources.annotations import agreed_label, read_delimited
from ier_ray.data.sources.base import Listed, Loaded
from ier_ray.data.sources.files import is_visible, load_image
from ier_ray.data.sources.parquet import read_cell
from ier_ray.data.sources.splits import split_in_cell
from ier_ray.errors import DataError

SUFFIXES = (".csv", ".tsv", ".parquet")

_CELL = re.compile(r"(\d+):(\d+)")


@dataclass(frozen=True)
class TableSource:
    """Columns ``label`` and ``path``, or in Parquet ``bytes``; optional others.

    ``root`` is the path or URI of the table. ``path`` holds absolute paths, URIs, or paths relative
    to the table's folder. A locator is such a path, or ``row_group:row`` of the bytes.

    Optional are ``group``, ``id`` and ``split``. Without ``id``, rows with the same path are one
    sample. ``split`` is the dataset's own part: train, val, test, or a synonym as validation.
    """

    root: str
    domain: Domain
    name: str = "table"

    looked_for: ClassVar[str] = (
        "one .csv, .tsv or .parquet with the columns label and path, or in Parquet bytes"
    )

    @classmethod
    def recognizes(cls, files: Sequence[str]) -> bool:
        """Whether the folder itself holds exactly one table."""
        return len(tables_among(files)) == 1

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
            locator = row["locator"] or f"(no path in row {number})"
            given_id = _text(row.get("id"))
            sample_id = f"{self.name}/{given_id or locator}"
            label = _text(row["label"])
            group = _text(row.get("group")) or sample_id
            split = split_in_cell(_text(row.get("split")), self.root, number)
            sample = Listed(sample_id, label, group, locator, split=split)
            unique = number if given_id else locator  # ingest rejects duplicate ids
            first, labels = samples.setdefault(unique, (sample, set()))
            labels.add(label)
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
        path = sample.locator
        if _is_parquet(self.root) and (cell := _CELL.fullmatch(path)):
            return Loaded(read_cell(self.root, int(cell[1]), int(cell[2])), None)
        absolute = "://" in path or path.startswith("/")
        return load_image(path if absolute else storage.join(self.root.rpartition("/")[0], path))


def tables_among(files: Sequence[str], suffixes: tuple[str, ...] = SUFFIXES) -> list[str]:
    """The visible tables directly in a folder, not in its subfolders."""
    in_root = (path for path in files if "/" not in path and is_visible(path))
    return [path for path in in_root if path.lower().endswith(suffixes)]


def _is_parquet(location: str) -> bool:
    return location.lower().endswith(".parquet")


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _rows(location: str) -> Iterator[dict[str, Any]]:
    """The label and locator of each row, and its group and id where there are such columns."""
    columns: Sequence[str]
    if _is_parquet(location):
        with open_parquet(location) as file:
            columns = file.schema_arrow.names
            _require(location, columns, "bytes" if "bytes" in columns else "path")
            wanted = [name for name in ("label", "path", "group", "id", "split") if name in columns]
            for group in range(file.num_row_groups):
                for row, cells in enumerate(file.read_row_group(group, wanted).to_pylist()):
                    inside = "bytes" in columns
                    yield {**cells, "locator": f"{group}:{row}" if inside else cells["path"]}
        return
    columns, rows = read_delimited(location)
    _require(location, columns, "path")
    yield from ({**row, "locator": row["path"]} for row in rows)


def _require(location: str, columns: Sequence[str], image: str) -> None:
    missing = [name for name in ("label", image) if name not in columns]
    if missing:
        raise DataError(f"{location}: lacks the columns {missing}, has {list(columns)}")
