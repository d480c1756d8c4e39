"""ArtPhoto: artistic photographs, labeled by their file names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.annotations import MIKELS, MIKELS_ONLY
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles, images_among

_PICTURE = re.compile(rf"(?:^|/)({'|'.join(MIKELS)})_[^/]+$", re.IGNORECASE)


@dataclass(frozen=True)
class ArtPhotoSource(ImageFiles):
    """``<emotion>_<id>.jpg`` with Mikels' eight emotions, at any depth."""

    name: str = "artphoto"

    looked_for: ClassVar[str] = "<emotion>_<id>.jpg with Mikels' emotions, as in awe_0001.jpg"

    @classmethod
    def recognizes(cls, files: Sequence[str]) -> bool:
        """Whether a file name has one of Mikels' emotions that is not a facial expression."""
        matches = map(_PICTURE.search, images_among(files))
        return any(match[1].lower() in MIKELS_ONLY for match in matches if match)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Image emotions only."""
        return ("ier",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List the images by path."""
        for path in images_among(storage.list_files(self.root)):
            if match := _PICTURE.search(path):
                sample_id = f"{self.name}/{path}"
                yield Listed(sample_id, match[1].lower(), sample_id, path)
