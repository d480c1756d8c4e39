"""FI: photographs from Flickr and Instagram in one folder per emotion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ier_ray.data.schema import Domain
from ier_ray.data.sources.annotations import MIKELS, MIKELS_ONLY
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles
from ier_ray.data.sources.folders import DatasetFolder
from ier_ray.data.sources.splits import split_called
from ier_ray.emotions import same_emotion

_EMOTIONS = frozenset(map(same_emotion, MIKELS))


@dataclass(frozen=True)
class FiSource(ImageFiles):
    """``<emotion>/<id>.jpg`` with Mikels' eight emotions, at any depth.

    A folder train, val or test above the emotion's tells the part.
    """

    name: str = "fi"

    looked_for: ClassVar[str] = "<emotion>/<id>.jpg with Mikels' emotions, as in awe/0001.jpg"

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """Whether all image folders are Mikels' emotions, and one is not a facial expression."""
        labels = {same_emotion(_folder(path)) for path in folder.images}
        special = sorted(labels & MIKELS_ONLY)
        if labels <= _EMOTIONS and special:
            return f"all images are in folders of Mikels' emotions, such as {special[0]}"
        return None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Image emotions only."""
        return ("ier",)

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The images by path."""
        of_root = split_called(_folder(f"{self.root}/x"))
        for path in folder.images:
            if same_emotion(_folder(path)) in _EMOTIONS:
                sample_id = f"{self.name}/{path}"
                split = split_called(_folder(path, above=2)) or of_root
                yield Listed(sample_id, _folder(path).lower(), sample_id, path, split=split)


def _folder(path: str, *, above: int = 1) -> str:
    """The folder that many levels above the file; empty where there is none."""
    return f"//{path}".split("/")[-1 - above]
