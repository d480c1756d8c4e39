"""FERG: rendered cartoon characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles
from ier_ray.data.sources.folders import DatasetFolder

_PICTURE = re.compile(r"(?:^|/)([^/]+)/\1_([^/_]+)/[^/]+$", re.IGNORECASE)


@dataclass(frozen=True)
class FergSource(ImageFiles):
    """``FERG_DB_256/<character>/<character>_<emotion>/*.png``; groups are characters."""

    name: str = "ferg"

    looked_for: ClassVar[str] = "FERG_DB_256/<character>/<character>_<emotion>/*.png"

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """An image in a folder ``<character>/<character>_<emotion>``."""
        found = next(filter(_PICTURE.search, folder.images), None)
        return found and f"{found} is in a folder of a character and an emotion"

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Facial expressions only."""
        return ("fer",)

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The images by path."""
        for path in folder.images:
            if match := _PICTURE.search(path):
                yield Listed(f"{self.name}/{path}", match[2].lower(), match[1].lower(), path)
