"""FI: photographs from Flickr and Instagram in one folder per emotion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.annotations import MIKELS, MIKELS_ONLY
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles, images_among
from ier_ray.data.sources.splits import split_called


@dataclass(frozen=True)
class FiSource(ImageFiles):
    """``<emotion>/<id>.jpg`` with Mikels' eight emotions, at any depth.

    A folder train, val or test above the emotion's tells the part.
    """

    name: str = "fi"

    looked_for: ClassVar[str] = "<emotion>/<id>.jpg with Mikels' emotions, as in awe/0001.jpg"

    @classmethod
    def recognizes(cls, files: Sequence[str]) -> bool:
        """Whether all image folders are Mikels' emotions, and one is not a facial expression."""
        labels = set(map(_folder, images_among(files)))
        return labels <= set(MIKELS) and not labels.isdisjoint(MIKELS_ONLY)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Image emotions only."""
        return ("ier",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List the images by path."""
        for path in images_among(storage.list_files(self.root)):
            if _folder(path) in MIKELS:
                sample_id = f"{self.name}/{path}"
                split = split_called(_folder(path, above=2))
                yield Listed(sample_id, _folder(path), sample_id, path, split=split)


def _folder(path: str, *, above: int = 1) -> str:
    """The folder that many levels above the file; empty where there is none."""
    return f"//{path}".split("/")[-1 - above].lower()
