"""Any dataset with one folder of images per label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles, images_among


@dataclass(frozen=True)
class FolderSource(ImageFiles):
    """``<label>/**/*.jpg`` with any labels; images outside of such folders are ignored."""

    domain: Domain
    name: str = "folder"

    looked_for: ClassVar[str] = "<label>/**/*.jpg with any labels"

    @classmethod
    def recognizes(cls, files: Sequence[str]) -> bool:
        """Whether an image is in a folder."""
        return any("/" in path for path in images_among(files))

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domain that the user named."""
        return (self.domain,)

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List the images by path."""
        for path in images_among(storage.list_files(self.root)):
            label, separator, _ = path.partition("/")
            if separator:
                sample_id = f"{self.name}/{path}"
                yield Listed(sample_id, label.lower(), sample_id, path)
