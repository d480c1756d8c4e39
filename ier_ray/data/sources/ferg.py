"""FERG: rendered cartoon characters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles, images_among

_PICTURE = re.compile(r"(?:^|/)([^/]+)/\1_([^/_]+)/[^/]+$", re.IGNORECASE)


@dataclass(frozen=True)
class FergSource(ImageFiles):
    """``FERG_DB_256/<character>/<character>_<emotion>/*.png``; groups are characters."""

    name: str = "ferg"

    looked_for: ClassVar[str] = "FERG_DB_256/<character>/<character>_<emotion>/*.png"

    @classmethod
    def recognizes(cls, files: Sequence[str]) -> bool:
        """Whether an image is in a folder ``<character>/<character>_<emotion>``."""
        return any(map(_PICTURE.search, images_among(files)))

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Facial expressions only."""
        return ("fer",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List the images by path. The dataset's label ``joy`` becomes ``happy``."""
        for path in images_among(storage.list_files(self.root)):
            if match := _PICTURE.search(path):
                emotion = match[2].lower()
                label = "happy" if emotion == "joy" else emotion
                yield Listed(f"{self.name}/{path}", label, match[1].lower(), path)
