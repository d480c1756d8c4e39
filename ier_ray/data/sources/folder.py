"""Any dataset with one folder of images per label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.files import ImageFiles, images_among
from ier_ray.data.sources.splits import split_called


@dataclass(frozen=True)
class FolderSource(ImageFiles):
    """``<label>/**/*.jpg`` with any labels; images outside of such folders are ignored.

    If every image in a folder is in ``train/<label>/``, ``val/<label>/`` or ``test/<label>/`` (or a
    synonym as ``validation``), the second folder is the label and the first one the part.
    """

    domain: Domain
    name: str = "folder"

    looked_for: ClassVar[str] = (
        "<label>/**/*.jpg with any labels, or train|val|test/<label>/**/*.jpg"
    )

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
        paths = [path for path in images_among(storage.list_files(self.root)) if "/" in path]
        in_parts = all(split_called(first) and deeper for first, deeper in map(_top, paths))
        for path in paths:
            folders, sample_id = path.split("/"), f"{self.name}/{path}"
            label, split = (
                (folders[1], split_called(folders[0])) if in_parts else (folders[0], None)
            )
            yield Listed(sample_id, label.lower(), sample_id, path, split=split)


def _top(path: str) -> tuple[str, bool]:
    """The first folder, and whether there is another one below it."""
    first, _, rest = path.partition("/")
    return first, "/" in rest
