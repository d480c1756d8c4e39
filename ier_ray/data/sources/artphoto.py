"""ArtPhoto: artistic photographs, labeled by their file names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ier_ray.data.schema import Domain
from ier_ray.data.sources.annotations import MIKELS, MIKELS_ONLY
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles
from ier_ray.data.sources.folders import DatasetFolder

_PICTURE = re.compile(rf"(?:^|/)({'|'.join(MIKELS)})_[^/]+$", re.IGNORECASE)


@dataclass(frozen=True)
class ArtPhotoSource(ImageFiles):
    """``<emotion>_<id>.jpg`` with Mikels' eight emotions, at any depth."""

    name: str = "artphoto"

    looked_for: ClassVar[str] = "<emotion>_<id>.jpg with Mikels' emotions, as in awe_0001.jpg"

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """A file whose name has one of Mikels' emotions that is not a facial expression."""
        for path in folder.images:
            if (match := _PICTURE.search(path)) and match[1].lower() in MIKELS_ONLY:
                return f"{path} is named for one of Mikels' emotions"
        return None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Image emotions only."""
        return ("ier",)

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The images by path."""
        for path in folder.images:
            if match := _PICTURE.search(path):
                sample_id = f"{self.name}/{path}"
                yield Listed(sample_id, match[1].lower(), sample_id, path)
