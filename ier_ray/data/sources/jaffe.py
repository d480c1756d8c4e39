"""JAFFE: posed expressions of ten subjects, labeled by their file names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles
from ier_ray.data.sources.folders import DatasetFolder

CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happy",
    "NE": "neutral",
    "SA": "sad",
    "SU": "surprise",
}

_PICTURE = re.compile(rf"(?:^|/)([A-Z]{{2}})\.({'|'.join(CODES)})\d*\.\d+\.\w+$", re.IGNORECASE)


@dataclass(frozen=True)
class JaffeSource(ImageFiles):
    """``KA.AN1.39.tiff``: subject, expression with its number, serial; groups are subjects."""

    name: str = "jaffe"

    looked_for: ClassVar[str] = (
        "<subject>.<AN|DI|FE|HA|NE|SA|SU><number>.<serial>.tiff, as in KA.AN1.39.tiff"
    )

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """An image with a name of this form."""
        found = next(filter(_PICTURE.search, folder.images), None)
        return found and f"{found} is named for a subject and an expression"

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Facial expressions only."""
        return ("fer",)

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The images by path."""
        for path in folder.images:
            if match := _PICTURE.search(path):
                label = CODES[match[2].upper()]
                yield Listed(f"{self.name}/{path}", label, match[1].upper(), path)
