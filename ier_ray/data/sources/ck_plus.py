"""CK+: image sequences from a neutral face to the peak of an expression; and its copy CK+48."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles
from ier_ray.data.sources.folders import DatasetFolder
from ier_ray.data.sources.splits import place_images
from ier_ray.emotions import same_emotion

CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
FRAMES = 3
"""Frames used from the end of a sequence, where the expression peaks."""

_FRAME = re.compile(r"(?:^|/)cohn-kanade-images/(S\d+)/(\d+)/[^/]+$", re.IGNORECASE)
_LABEL = re.compile(r"(?:^|/)Emotion/(S\d+)/(\d+)/([^/]+)_emotion\.txt$", re.IGNORECASE)
_LABELED = re.compile(r"(?:^|/)([^/]+)/(S\d{3})_\d{3}_\d{8}[^/]*$", re.IGNORECASE)
_EMOTIONS = frozenset(map(same_emotion, CODES))


@dataclass(frozen=True)
class CkPlusSource(ImageFiles):
    """``cohn-kanade-images/S005/001/*.png`` and ``Emotion/S005/001/*_emotion.txt``.

    Samples are the last three frames of each sequence with an emotion file. Or, as in CK+48,
    ``<emotion>/S010_004_00000017.png``, where all images are samples. Groups are subjects.
    """

    name: str = "ck_plus"

    looked_for: ClassVar[str] = (
        "cohn-kanade-images/<subject>/<sequence>/*.png and "
        "Emotion/<subject>/<sequence>/*_emotion.txt, or <emotion>/S010_004_00000017.png"
    )

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """Frames and emotion files, or an image named for a frame in a folder of an emotion."""
        frame = next(filter(_FRAME.search, folder.images), None)
        label = next(filter(_LABEL.search, folder.others), None)
        if frame and label:
            return f"there are a frame, {frame}, and the file of an emotion, {label}"
        found = next((path for path in folder.images if _labeled(path)), None)
        return found and f"{found} is named for a frame, in the folder of an emotion"

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Facial expressions only."""
        return ("fer",)

    def annotations(self, folder: DatasetFolder) -> Sequence[str]:
        """The emotion files."""
        return [path for path in folder.others if _LABEL.search(path)]

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The last frames of labeled sequences in the order of the emotion files, and CK+48's.

        A labeled sequence without frames is listed with its peak frame, which loading reports
        missing.
        """
        frames: dict[tuple[str, str], list[str]] = {}
        for path in folder.images:
            if match := _FRAME.search(path):
                frames.setdefault((match[1].upper(), match[2]), []).append(path)
        for path in self.annotations(folder):
            if match := _LABEL.search(path):
                subject, sequence, peak = match[1].upper(), match[2], match[3]
                label = _label(storage.read_bytes(storage.join(self.root, path)))
                expected = [f"cohn-kanade-images/{subject}/{sequence}/{peak}.png"]
                for frame in frames.get((subject, sequence), expected)[-FRAMES:]:
                    yield Listed(f"{self.name}/{frame}", label, subject, frame)
        placed = place_images(self.root, folder.images)
        for path in folder.images:
            if match := _labeled(path):
                sample_id, subject = f"{self.name}/{path}", match[2].upper()
                split = placed[path].split
                yield Listed(sample_id, match[1].lower(), subject, path, split=split)


def _labeled(path: str) -> re.Match[str] | None:
    """The folder of an emotion and the subject, in the path of an image of CK+48."""
    match = _LABELED.search(path)
    return match if match and same_emotion(match[1]) in _EMOTIONS else None


def _label(content: bytes) -> str:
    """The emotion in a file with content like ``   3.0000000e+00``."""
    text = content.decode("ascii", "replace").strip()
    try:
        number = float(text)
    except ValueError:
        return f"unknown code {text!r}"
    return CODES[int(number)] if number in range(len(CODES)) else f"unknown code {text!r}"
