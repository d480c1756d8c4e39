"""CK+: image sequences from a neutral face to the peak of an expression."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles, images_among, is_visible

CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
FRAMES = 3
"""Frames used from the end of a sequence, where the expression peaks."""

_FRAME = re.compile(r"(?:^|/)cohn-kanade-images/(S\d+)/(\d+)/[^/]+$", re.IGNORECASE)
_LABEL = re.compile(r"(?:^|/)Emotion/(S\d+)/(\d+)/([^/]+)_emotion\.txt$", re.IGNORECASE)


@dataclass(frozen=True)
class CkPlusSource(ImageFiles):
    """``cohn-kanade-images/S005/001/*.png`` and ``Emotion/S005/001/*_emotion.txt``.

    Samples are the last three frames of each sequence with an emotion file; groups are subjects.
    """

    name: str = "ck_plus"

    looked_for: ClassVar[str] = (
        "cohn-kanade-images/<subject>/<sequence>/*.png and "
        "Emotion/<subject>/<sequence>/*_emotion.txt"
    )

    @classmethod
    def recognizes(cls, files: Sequence[str]) -> bool:
        """Whether there are frames and emotion files."""
        frames = any(map(_FRAME.search, images_among(files)))
        return frames and any(map(_LABEL.search, filter(is_visible, files)))

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Facial expressions only."""
        return ("fer",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List the last frames of labeled sequences, in the order of the emotion files.

        A labeled sequence without frames is listed with its peak frame, which loading reports
        missing.
        """
        files = storage.list_files(self.root)
        frames: dict[tuple[str, str], list[str]] = {}
        for path in images_among(files):
            if match := _FRAME.search(path):
                frames.setdefault((match[1].upper(), match[2]), []).append(path)
        for path in filter(is_visible, files):
            if match := _LABEL.search(path):
                subject, sequence, peak = match[1].upper(), match[2], match[3]
                label = _label(storage.read_bytes(storage.join(self.root, path)))
                expected = [f"cohn-kanade-images/{subject}/{sequence}/{peak}.png"]
                for frame in frames.get((subject, sequence), expected)[-FRAMES:]:
                    yield Listed(f"{self.name}/{frame}", label, subject, frame)


def _label(content: bytes) -> str:
    """The emotion in a file with content like ``   3.0000000e+00``."""
    text = content.decode("ascii", "replace").strip()
    try:
        number = float(text)
    except ValueError:
        return f"unknown code {text!r}"
    return CODES[int(number)] if number in range(len(CODES)) else f"unknown code {text!r}"
