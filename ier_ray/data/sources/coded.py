"""Datasets of faces whose label folders are numbers: RAF-DB and AffectNet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.annotations import decoded
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles, without_suffix
from ier_ray.data.sources.folders import DatasetFolder
from ier_ray.data.sources.splits import place_images, split_called
from ier_ray.emotions import same_emotion

RAF_DB = {
    1: "surprise",
    2: "fear",
    3: "disgust",
    4: "happiness",
    5: "sadness",
    6: "anger",
    7: "neutral",
}
AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")

_EIGHT = frozenset(map(same_emotion, AFFECTNET))
_WHOLE = re.compile(r"0*(\d+)(?:\.0*)?")
_LIST = re.compile(r"(?:^|/)list_par?tition_label\.txt$", re.IGNORECASE)


def whole_number(text: str) -> int | None:
    """The number that a code such as ``3``, ``03`` or ``3.0`` is; None if it is none."""
    match = _WHOLE.fullmatch(text.strip())
    return int(match[1]) if match else None


def label_of_code(text: str, codes: Sequence[str] | Mapping[int, str]) -> str:
    """The label that a number stands for; a word is a label itself, in lower case."""
    number = whole_number(text)
    names = codes if isinstance(codes, Mapping) else dict(enumerate(codes))
    if number is not None:
        return names.get(number, f"unknown code {text!r}")
    return text.strip().lower() if any(map(str.isalpha, text)) else f"unknown code {text!r}"


def numbers_of(folder: DatasetFolder) -> tuple[set[int], bool]:
    """The numbers by which all label folders are named, and whether there are parts.

    Returns:
        No numbers if a label folder is named by anything else.
    """
    placed = place_images(folder.root, folder.images).values()
    numbers = {whole_number(place.label) for place in placed}
    known = {number for number in numbers if number is not None}
    return (known if None not in numbers else set()), any(place.split for place in placed)


@dataclass(frozen=True)
class RafDbSource(ImageFiles):
    """``train|test/<1-7>/*.jpg``, or the images that ``list_patition_label.txt`` lists.

    The list is read if it exists; of the images ``x.jpg`` and ``x_aligned.jpg`` the aligned one.
    """

    name: str = "raf_db"

    looked_for: ClassVar[str] = (
        "train|test/<1-7>/*.jpg, or EmoLabel/list_patition_label.txt and Image/aligned/*.jpg "
        "(1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutral)"
    )

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """The list, or label folders of 1 to 7: all of them, or some in folders of parts."""
        for path in filter(_LIST.search, folder.others):
            return f"there is {path}"
        numbers, in_parts = numbers_of(folder)
        if numbers == RAF_DB.keys() or (in_parts and numbers and numbers <= RAF_DB.keys()):
            return f"its label folders are numbers of 1 to 7: {sorted(numbers)}"
        return None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Facial expressions only."""
        return ("fer",)

    def annotations(self, folder: DatasetFolder) -> Sequence[str]:
        """The list."""
        return [path for path in folder.others if _LIST.search(path)][:1]

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The images in the order of the list, or by path.

        Raises:
            DataError: when the list is not a text in UTF-8.
        """
        for listed in self.annotations(folder):
            location = storage.join(self.root, listed)
            yield from self._listed(folder, decoded(storage.read_bytes(location), location))
            return
        for path, placed in place_images(self.root, folder.images).items():
            sample_id, label = f"{self.name}/{path}", label_of_code(placed.label, RAF_DB)
            yield Listed(sample_id, label, sample_id, path, split=placed.split)

    def _listed(self, folder: DatasetFolder, text: str) -> Iterator[Listed]:
        names = {without_suffix(path).rpartition("/")[2]: path for path in folder.images}
        for line in filter(str.strip, text.splitlines()):
            name, _, code = line.strip().rpartition(" ")
            stem = without_suffix(name.strip())
            path = names.get(f"{stem}_aligned") or names.get(stem) or name.strip()
            split = split_called(stem.partition("_")[0])
            sample_id = f"{self.name}/{path}"
            yield Listed(sample_id, label_of_code(code, RAF_DB), sample_id, path, split=split)


@dataclass(frozen=True)
class AffectNetSource(ImageFiles):
    """``train|val|test/<0-7>/*.jpg``, or the emotions' names in place of the numbers."""

    name: str = "affectnet"

    looked_for: ClassVar[str] = (
        "train|val|test/<0-7>/*.jpg (0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, "
        "6 anger, 7 contempt)"
    )

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """Label folders of 0 to 7, both included (0 to 6 may also be FER2013's), or in words."""
        numbers, _ = numbers_of(folder)
        if {0, 7} <= numbers <= set(range(len(AFFECTNET))):
            return f"its label folders are numbers of 0 to 7: {sorted(numbers)}"
        placed = place_images(folder.root, folder.images).values()
        words = {same_emotion(place.label) for place in placed}
        if "contempt" in words <= _EIGHT and all(place.split for place in placed):
            return "its parts have label folders of eight emotions, with contempt"
        return None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Facial expressions only."""
        return ("fer",)

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The images by path."""
        for path, placed in place_images(self.root, folder.images).items():
            sample_id, label = f"{self.name}/{path}", label_of_code(placed.label, AFFECTNET)
            yield Listed(sample_id, label, sample_id, path, split=placed.split)
