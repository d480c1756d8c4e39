"""A folder of Parquet files, as Hugging Face's datasets are distributed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain, Part
from ier_ray.data.sources.base import Listed, Loaded
from ier_ray.data.sources.files import ImageFiles
from ier_ray.data.sources.folders import DatasetFolder, folder_of
from ier_ray.data.sources.parquet import load_cell, parquet_rows
from ier_ray.data.sources.splits import split_called, split_in_cell

_SHARD = re.compile(r"(.+)-\d+-of-\d+(?:-[0-9a-f]+)?")


@dataclass(frozen=True)
class HuggingFaceSource(ImageFiles):
    """``data/train-00000-of-00002.parquet``: a column of images and one of labels.

    Which columns, and of which types, :mod:`~ier_ray.data.sources.parquet` says.

    The part is in a column ``split``, else in the name of the file or of its folder. A locator is
    the path of the file, ``|``, and the cell in it.
    """

    domain: Domain
    name: str = "hugging_face"

    looked_for: ClassVar[str] = (
        "several .parquet, or some in a folder, with the columns label and image, as "
        "data/train-00000-of-00002.parquet"
    )

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """Parquet files; one alone, directly in the folder and not named for a part, is a table."""
        files = _files(folder)
        if not files or (len(files) == 1 and "/" not in files[0] and not _part_of(files[0])):
            return None
        return f"there is {files[0]}"

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domain that the user named."""
        return (self.domain,)

    def annotations(self, folder: DatasetFolder) -> Sequence[str]:
        """The Parquet files."""
        return _files(folder)

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The rows of all files, by path.

        Raises:
            DataError: when a file cannot be read or lacks a column.
        """
        for path in _files(folder):
            location, of_file = storage.join(folder.root, path), _part_of(path)
            for number, row in enumerate(parquet_rows(location)):
                sample_id = f"{self.name}/{row.id or f'{path}:{number}'}"
                split = split_in_cell(row.split, location, number) or of_file
                locator = f"{path}|{row.locator}"
                yield Listed(sample_id, row.label, row.group or sample_id, locator, split=split)

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Load the bytes in a cell, or the file that it names.

        Raises:
            ImageError: when the file is missing.
        """
        path, _, locator = sample.locator.partition("|")
        return load_cell(storage.join(folder_of(self.root), path), locator)


def _files(folder: DatasetFolder) -> list[str]:
    return [path for path in folder.others if path.lower().endswith(".parquet")]


def _part_of(path: str) -> Part | None:
    """The part that the name of a file or of a folder around it says."""
    *folders, file = path.rsplit(".", 1)[0].split("/")
    match = _SHARD.fullmatch(file)
    names = [match[1] if match else file, *reversed(folders)]
    return next((part for part in map(split_called, names) if part is not None), None)
