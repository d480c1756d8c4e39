"""IAPSa: pictures by number, with a table of Mikels' emotions beside them."""

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
from ier_ray.data.sources.files import ImageFiles, images_among, without_suffix
from ier_ray.data.sources.table import tables_among
from ier_ray.errors import DataError

IMAGE_COLUMNS = ("image", "file", "filename", "picture", "slide", "iaps", "id")
LABEL_COLUMNS = ("emotion", "label", "category")
TEXT = (".csv", ".tsv")

_NUMBER = re.compile(r"(?:^|/)\d{4}(?:\.\d)?\.\w+$")


@dataclass(frozen=True)
class IapsaSource(ImageFiles):
    """Images at any depth and one CSV or TSV file, comma, semicolon or tab separated, in root.

    The table names images with or without folder and suffix, in any case. An image it labels
    twice is listed once.
    """

    name: str = "iapsa"

    looked_for: ClassVar[str] = (
        "pictures by IAPS number and one label table (.csv or .tsv) with an image column "
        f"({', '.join(IMAGE_COLUMNS)}) and a label column ({', '.join(LABEL_COLUMNS)})"
    )

    @classmethod
    def recognizes(cls, files: Sequence[str]) -> bool:
        """Whether there is a table, and images with IAPS numbers or a table named after IAPS."""
        tables, images = tables_among(files, TEXT), images_among(files)
        numbered = any(map(_NUMBER.search, images))
        return bool(tables and images) and (numbered or any("iaps" in t.lower() for t in tables))

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Image emotions."""
        return ("ier",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        """Images the table names, by path; one that is not there is found missing by loading.

        Raises:
            DataError: when there is not exactly one table with the columns.
        """
        files = storage.list_files(self.root)
        pictures = _by_name(images_among(files))
        labels: dict[str, set[str]] = {}
        for named, label in _labeled(self.root, tables_among(files, TEXT)):
            key = _key(named)
            path = pictures.get(key) or pictures.get(without_suffix(key)) or named
            labels.setdefault(path, set()).add(label.lower())
        for path in sorted(labels):
            sample_id = f"{self.name}/{path}"
            yield Listed(sample_id, agreed_label(labels[path]), sample_id, path)


def _labeled(root: str, tables: Sequence[str]) -> list[tuple[str, str]]:
    """Image name and label of each row of the one table that has both."""
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
    """Paths by every name a table may use; a fuller name goes before a shorter one."""
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
