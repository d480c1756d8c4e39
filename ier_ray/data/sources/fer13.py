"""FER13: faces of 48x48 gray pixels, in one CSV file or in image folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.annotations import column_names, delimiter_of
from ier_ray.data.sources.base import Listed, Loaded
from ier_ray.data.sources.coded import label_of_code
from ier_ray.data.sources.files import ImageFiles
from ier_ray.data.sources.folders import DatasetFolder, folder_of
from ier_ray.data.sources.pixel_rows import is_pixel_row, pixel_rows, read_pixels
from ier_ray.data.sources.splits import Placed, place_images, split_in_cell
from ier_ray.emotions import same_emotion

CODES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

_EMOTIONS = frozenset(map(same_emotion, CODES))


@dataclass(frozen=True)
class Fer13Source(ImageFiles):
    """``fer2013.csv``, or ``train/<emotion>/*.jpg`` and ``test/<emotion>/*.jpg``.

    The CSV file, which is read if both exist, is known by its columns ``emotion`` and ``pixels``.
    Its column ``Usage``, or the folder, tells the dataset's own part: PublicTest is for validation,
    PrivateTest for testing. A locator is that of a row, or the path of an image.
    """

    name: str = "fer13"

    looked_for: ClassVar[str] = (
        "a .csv with the columns emotion and pixels, as fer2013.csv, or train/<emotion>/*.jpg and "
        "test/<emotion>/*.jpg"
    )

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """The CSV file, or folders of parts whose folders are all of the seven emotions."""
        table = _csv_among(folder)
        if table is not None:
            return f"there is {table}, a table of pixels"
        in_parts = _in_parts(folder)
        labels = {same_emotion(placed.label) for placed in in_parts.values()}
        if labels and labels <= _EMOTIONS:
            return f"{next(iter(in_parts))} is in a part's folder of one of seven emotions"
        return None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Facial expressions only."""
        return ("fer",)

    def annotations(self, folder: DatasetFolder) -> Sequence[str]:
        """The CSV file."""
        table = _csv_among(folder)
        return [table] if table else []

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The rows in the file's order, or the images by path.

        Raises:
            DataError: when the CSV file cannot be read or lacks a column, or has an unknown
                ``Usage``.
        """
        for table in self.annotations(folder):
            location = storage.join(folder.root, table)
            for number, row in enumerate(pixel_rows(location)):
                sample_id = f"{self.name}/{table}:{number}"
                label = label_of_code(row.emotion, CODES)
                split = split_in_cell(row.usage, location, number)
                locator = f"{table}:{row.locator}"
                yield Listed(sample_id, label, sample_id, locator, split=split)
            return
        for path, placed in _in_parts(folder).items():
            sample_id = f"{self.name}/{path}"
            label = label_of_code(placed.label, CODES)
            yield Listed(sample_id, label, sample_id, path, split=placed.split)

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Load the unchanged image file, or a PNG of a row's pixels.

        Raises:
            ImageError: when the file is missing or the pixels are not 48x48 numbers up to 255.
        """
        if not is_pixel_row(sample.locator):
            return super().load(domain, sample)
        return Loaded(read_pixels(folder_of(self.root), sample.locator), None)


def _in_parts(folder: DatasetFolder) -> dict[str, Placed]:
    """The images in folders of the dataset's own parts."""
    placed = place_images(folder.root, folder.images)
    return {path: place for path, place in placed.items() if place.split is not None}


def _csv_among(folder: DatasetFolder) -> str | None:
    """The table of FER2013's name, else the first one with its columns."""
    tables = [path for path in folder.others if path.lower().endswith(".csv")]
    fitting = [path for path in tables if _has_columns(folder.others[path])]
    named = [path for path in tables if path.lower().rpartition("/")[2] in _NAMES]
    return next(iter(named + fitting), None)


def _has_columns(head: bytes) -> bool:
    header = head.decode("utf-8-sig", "replace").splitlines()[:1]
    cells = header[0].replace('"', "").split(delimiter_of(header[0])) if header else []
    return {"emotion", "pixels"} <= set(column_names(cells))


_NAMES = ("fer2013.csv", "icml_face_data.csv")
