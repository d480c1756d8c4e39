"""IAPSa: numbered pictures, and a table of their emotions (Mikels' set)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.annotations import agreed_label, first_column, read_delimited
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles, without_suffix
from ier_ray.data.sources.folders import DatasetFolder
from ier_ray.data.sources.table import tables_among
from ier_ray.errors import DataError

IMAGE_COLUMNS = ("image", "file", "filename", "picture", "slide", "iaps", "id")
LABEL_COLUMNS = ("emotion", "label", "category")
TEXT = (".csv", ".tsv")

_NUMBER = re.compile(r"(?:^|/)\d{4}(?:\.\d)?\.\w+$")


@dataclass(frozen=True)
class IapsaSource(ImageFiles):
    """Images at any depth, and one table (.csv or .tsv) of labels directly in ``root``.

    The table may name images without folder or suffix, in upper or lower case. An image with
    several rows is listed once.
    """

    name: str = "iapsa"

    looked_for: ClassVar[str] = (
        "pictures by IAPS number and one label table (.csv or .tsv) with an image column "
        f"({', '.join(IMAGE_COLUMNS)}) and a label column ({', '.join(LABEL_COLUMNS)})"
    )

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """Images and a table, where an IAPS number names an image or ``iaps`` a table."""
        tables = tables_among(folder.others, TEXT)
        if not tables or not folder.images:
            return None
        numbered = next(filter(_NUMBER.search, folder.images), None)
        if numbered:
            return f"{numbered} is named by an IAPS number, beside the table {tables[0]}"
        named = next((table for table in tables if "iaps" in table.lower()), None)
        return named and f"there is the table {named}"

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Image emotions only."""
        return ("ier",)

    def annotations(self, folder: DatasetFolder) -> Sequence[str]:
        """The tables."""
        return tables_among(folder.others, TEXT)

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The images that the table names, by path; loading reports the missing ones.

        Raises:
            DataError: unless exactly one table has an image and a label column.
        """
        pictures = _by_name(folder.images)
        labels: dict[str, set[str]] = {}
        for named, label in _labeled(self.root, self.annotations(folder)):
            key = _key(named)
            path = pictures.get(key) or pictures.get(without_suffix(key)) or named
            labels.setdefault(path, set()).add(label.lower())
        for path in sorted(labels):
            sample_id = f"{self.name}/{path}"
            yield Listed(sample_id, agreed_label(labels[path]), sample_id, path)


def _labeled(root: str, tables: Sequence[str]) -> list[tuple[str, str]]:
    """Image name and label of each row of the only table that has both columns."""
    found: dict[str, list[tuple[str, str]]] = {}
    for table in tables:
        columns, rows = read_delimited(storage.join(root, table))
        image, label = first_column(columns, IMAGE_COLUMNS), first_column(columns, LABEL_COLUMNS)
        if image and label:
            found[table] = [(row[image] or "(no name)", row[label]) for row in rows]
    if len(found) != 1:
        raise DataError(
            f"{root}: needs one label table with a column of {list(IMAGE_COLUMNS)} and one of "
            f"{list(LABEL_COLUMNS)}, has {list(found) or 'none'} among {list(tables)}"
        )
    return next(iter(found.values()))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()


def _by_name(images: Sequence[str]) -> dict[str, str]:
    """Paths by every name that a table may use; longer names take precedence."""
    names: tuple[Callable[[str], str], ...] = (
        lambda path: path,
        without_suffix,
        lambda path: path.rpartition("/")[2],
        lambda path: without_suffix(path.rpartition("/")[2]),
    )
    index: dict[str, str] = {}
    for name in names:
        for path in images:
            index.setdefault(_key(name(path)), path)
    return index
