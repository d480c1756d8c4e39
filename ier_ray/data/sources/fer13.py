"""FER13: faces of 48x48 gray pixels, in one CSV file or in image folders."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ier_ray import storage
from ier_ray.data.images import encode_png
from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed, Loaded
from ier_ray.data.sources.files import images_among, is_image, is_visible, load_image
from ier_ray.data.sources.splits import split_called, split_in_cell
from ier_ray.errors import DataError, ImageError

SIDE = 48
CODES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

_SYNONYMS = frozenset({"anger", "happiness", "sadness", "surprised"})
_PICTURE = re.compile(r"(?:^|/)(train|test|validation|val)/([^/]+)/[^/]+$", re.IGNORECASE)


@dataclass(frozen=True)
class Fer13Source:
    """``fer2013.csv``, or ``train/<emotion>/*.jpg`` and ``test/<emotion>/*.jpg``.

    If both exist, the CSV file is read. Its column ``Usage``, or the folder, tells the dataset's
    own part: PublicTest is for validation, PrivateTest for testing. A locator is
    ``file:offset:length`` (the bytes of one row's pixels) or the path of an image.
    """

    root: str
    name: str = "fer13"

    looked_for: ClassVar[str] = "fer2013.csv, or train/<emotion>/*.jpg and test/<emotion>/*.jpg"

    @classmethod
    def recognizes(cls, files: Sequence[str]) -> bool:
        """Whether the CSV file exists, or every image folder is one of the seven emotions."""
        labels = {match[2].lower() for match in map(_PICTURE.search, images_among(files)) if match}
        known = bool(labels) and labels <= _SYNONYMS.union(CODES)
        return known or _csv_among(files) is not None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Facial expressions only."""
        return ("fer",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List the rows in the file's order, or the images by path.

        Raises:
            DataError: when the CSV file lacks a column, or has an unknown ``Usage``.
        """
        files = storage.list_files(self.root)
        table = _csv_among(files)
        if table is not None:
            location = storage.join(self.root, table)
            for row, (label, usage, offset, length) in enumerate(_pixel_fields(location)):
                sample_id = f"{self.name}/{table}:{row}"
                split = split_in_cell(usage, location, row)
                locator = f"{table}:{offset}:{length}"
                yield Listed(sample_id, label, sample_id, locator, split=split)
            return
        for path in images_among(files):
            if match := _PICTURE.search(path):
                sample_id = f"{self.name}/{path}"
                label, split = match[2].lower(), split_called(match[1])
                yield Listed(sample_id, label, sample_id, path, split=split)

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Load the unchanged image file, or a PNG of a row's pixels.

        Raises:
            ImageError: when the file is missing or the pixels are not 48x48 numbers up to 255.
        """
        if is_image(sample.locator):
            return load_image(storage.join(self.root, sample.locator))
        table, offset, length = sample.locator.rsplit(":", 2)
        field = storage.read_range(storage.join(self.root, table), int(offset), int(length))
        return Loaded(_png_of(field), None)


def _csv_among(files: Sequence[str]) -> str | None:
    named = (path for path in files if path.lower().rpartition("/")[2] == "fer2013.csv")
    return next(filter(is_visible, named), None)


def _pixel_fields(location: str) -> Iterator[tuple[str, str, int, int]]:
    """Label and usage of each row, and the byte offset and length of its pixels in the file."""
    lines = io.BytesIO(storage.read_bytes(location))
    header = lines.readline()
    columns = [name.strip().lower() for name in header.decode("utf-8-sig", "replace").split(",")]
    if "emotion" not in columns or "pixels" not in columns:
        raise DataError(f"{location}: needs the columns emotion and pixels, has {columns}")
    emotion, pixels = columns.index("emotion"), columns.index("pixels")
    usage = columns.index("usage") if "usage" in columns else len(columns)
    start = len(header)
    for line in lines:
        fields = line.split(b",")
        if line.strip():
            offset = start + sum(len(field) + 1 for field in fields[:pixels])
            length = len(fields[pixels].rstrip()) if pixels < len(fields) else 0
            yield _label(_text(fields, emotion)), _text(fields, usage), offset, length
        start += len(line)


def _text(fields: Sequence[bytes], column: int) -> str:
    return fields[column].decode("utf-8", "replace").strip() if column < len(fields) else ""


def _label(code: str) -> str:
    return CODES[int(code)] if re.fullmatch("[0-6]", code) else f"unknown code {code!r}"


def _png_of(field: bytes) -> bytes:
    numbers = field.strip(b' "').split()
    if len(numbers) != SIDE * SIDE:
        raise ImageError("truncated", f"{len(numbers)} pixels, a face has {SIDE}x{SIDE}")
    try:
        pixels = np.array([int(number) for number in numbers]).reshape(SIDE, SIDE)
    except ValueError as error:
        raise ImageError("unidentified", f"pixels are not numbers: {error}") from error
    if pixels.min() < 0 or pixels.max() > 255:
        raise ImageError("unidentified", f"pixels of {pixels.min()}..{pixels.max()}, not 0..255")
    return encode_png(pixels.astype(np.uint8))
