"""Base class of datasets in a folder, and how an image file is loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed, Loaded, Skipped
from ier_ray.data.sources.folders import DatasetFolder, has_image_suffix, read_folder
from ier_ray.errors import ImageError, StorageError


def without_suffix(path: str) -> str:
    """A path without an image suffix; any other suffix is part of the name."""
    return str(PurePosixPath(path).with_suffix("")) if has_image_suffix(path) else path


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
class ImageFiles(ABC):
    """Base class of datasets in a folder: every file there is a sample or is skipped by name.

    Locators are paths of images relative to ``root``, unless a dataset has its own ``load``.
    """

    root: str
    recognized: str = field(default="", repr=False, compare=False, kw_only=True)
    """Why the folder was taken for this dataset, if nobody named it; for messages."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the dataset."""

    @abstractmethod
    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The samples among the files of the folder, in a stable order."""

    def annotations(self, folder: DatasetFolder) -> Sequence[str]:
        """The files of the folder that are read for the labels."""
        return ()

    def list(self, domain: Domain) -> Iterator[Listed | Skipped]:
        """List the samples, then all other files of the folder with the reason."""
        folder = read_folder(self.root)
        located = set()
        for sample in self.samples(folder):
            located.add(sample.locator)
            yield sample
        yield from folder.skipped(self.name, samples=located, annotations=self.annotations(folder))

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Load the unchanged image file.

        Raises:
            ImageError: with reason ``missing`` when there is no such file.
        """
        return load_image(storage.join(self.root, sample.locator))
