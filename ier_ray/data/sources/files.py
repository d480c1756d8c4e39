"""Which files of a dataset's folder are images, and how one is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed, Loaded
from ier_ray.errors import ImageError, StorageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def is_image(path: str) -> bool:
    """Whether a path has the suffix of an image."""
    return path.lower().endswith(IMAGE_SUFFIXES)


def is_visible(path: str) -> bool:
    """Whether no part of a path is hidden, or macOS archive metadata (``__MACOSX``)."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def images_among(files: Iterable[str]) -> list[str]:
    """The visible images among relative paths, in the same order."""
    return [path for path in files if is_image(path) and is_visible(path)]


def without_suffix(path: str) -> str:
    """A path without an image suffix; any other suffix is part of the name."""
    return str(PurePosixPath(path).with_suffix("")) if is_image(path) else path


def load_image(location: str) -> Loaded:
    """Load the unchanged bytes of an image file.

    Raises:
        ImageError: with reason ``missing`` when there is no such file.
        StorageError: when the storage fails; the image itself may be good.
    """
    try:
        return Loaded(storage.read_bytes(location), None)
    except StorageError as error:
        if storage.exists(location):
            raise
        raise ImageError("missing", f"{location}: listed, but there is no such file") from error


@dataclass(frozen=True)
class ImageFiles:
    """Base class of datasets whose locators are paths of images relative to ``root``."""

    root: str

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Load the unchanged image file.

        Raises:
            ImageError: with reason ``missing`` when there is no such file.
        """
        return load_image(storage.join(self.root, sample.locator))
