"""Any dataset with one folder of images per label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles
from ier_ray.data.sources.folders import DatasetFolder
from ier_ray.data.sources.splits import place_images


@dataclass(frozen=True)
class FolderSource(ImageFiles):
    """``<label>/**/*.jpg`` with any labels; images outside of such folders are skipped.

    Folders ``train``, ``val`` and ``test`` (or a synonym as ``validation``) are never labels: they
    are the part, and the folder in them is the label, as :func:`~.splits.place_images` says.
    """

    domain: Domain
    name: str = "folder"

    looked_for: ClassVar[str] = (
        "<label>/**/*.jpg with any labels, or train|val|test/<label>/**/*.jpg"
    )

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """An image in a folder of a label."""
        for path, placed in place_images(folder.root, folder.images).items():
            return f"{path} is in a folder, whose name {placed.label!r} is taken for its label"
        return None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domain that the user named."""
        return (self.domain,)

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The images by path."""
        for path, placed in place_images(self.root, folder.images).items():
            sample_id = f"{self.name}/{path}"
            yield Listed(sample_id, placed.label.lower(), sample_id, path, split=placed.split)
