"""What is in a dataset's folder: its images, known by their content, and everything else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ier_ray import storage
from ier_ray.data.image_formats import HEAD_BYTES, recognized_format
from ier_ray.data.sources.base import Skipped
from ier_ray.local_files import FoundFile, printable

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".tif", ".tiff"),
    *(".bmp", ".dib", ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpx"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Suffixes that only images have. Such a file is a sample whatever it contains, so that a damaged
one is quarantined and named. Every other file is opened to see what it is."""

SYSTEM_NAMES = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
        *("$recycle.bin", "system volume information", "recycler", "lost+found"),
        *("__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
        *("__pycache__", "cvs"),
    }
)
"""Files and folders, in lower case, of operating systems, archivers, network drives and editors."""

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")

READERS = 16
"""Files that are opened at the same time: on S3 each takes a round trip."""


@dataclass(frozen=True)
class DatasetFolder:
    """The files of a folder, by what they are; each file once, by path."""

    root: str
    """Location of the folder."""
    images: tuple[str, ...]
    """Paths of images, relative to the folder."""
    others: Mapping[str, bytes]
    """Other files and their first bytes."""
    unusable: tuple[FoundFile, ...]
    """Names that cannot or need not be read."""
    system: tuple[str, ...]
    """Files that are no part of any dataset."""

    @property
    def files(self) -> list[str]:
        """The images and others, by path."""
        return sorted([*self.images, *self.others])

    def skipped(
        self, dataset: str, *, samples: Collection[str], annotations: Collection[str]
    ) -> Iterator[Skipped]:
        """Every file of which the dataset makes no sample, with the reason, by path.

        Args:
            dataset: its name, with which the ids begin.
            samples: paths of the files that are samples.
            annotations: paths of the files that were read for the labels.
        """
        found = {
            path: Skipped(path, "system", "a file of the operating system, an archiver or editor")
            for path in self.system
        }
        found |= {
            file.path: Skipped(printable(file.path), file.problem, file.detail)
            for file in self.unusable
            if file.problem is not None
        }
        found |= {path: _not_an_image(path, head) for path, head in self.others.items()}
        for path in self.images:
            found[path] = Skipped(path, "outside_layout", f"no image of dataset {dataset!r}")
        for path in annotations:
            found[path] = Skipped(path, "annotations", "read for the labels")
        for path in sorted(found.keys() - set(samples)):
            yield found[path]._replace(sample_id=f"{dataset}/{found[path].sample_id}")


def folder_of(root: str) -> str:
    """The folder of a dataset that may be given as its table."""
    return root.rpartition("/")[0] if root.lower().endswith(TABLE_SUFFIXES) else root


def read_folder(root: str) -> DatasetFolder:
    """List a folder and see what its files are; of a table's, only the table.

    Raises:
        StorageError: when the folder is missing or a file cannot be read.
    """
    folder = folder_of(root)
    found = [FoundFile(root.rpartition("/")[2])] if folder != root else storage.find_files(root)
    system = tuple(printable(file.path) for file in found if is_system(file.path))
    visible = [file for file in found if not is_system(file.path)]
    paths = [file.path for file in visible if file.problem is None]
    unknown = [path for path in paths if not has_image_suffix(path)]

    def head(path: str) -> bytes:
        return storage.read_range(storage.join(folder, path), 0, HEAD_BYTES)

    with ThreadPoolExecutor(READERS) as readers:
        heads = dict(zip(unknown, readers.map(head, unknown), strict=True))
    others = {path: head for path, head in heads.items() if recognized_format(head) is None}
    return DatasetFolder(
        folder,
        images=tuple(path for path in paths if path not in others),
        others=others,
        unusable=tuple(file for file in visible if file.problem is not None),
        system=system,
    )


def has_image_suffix(path: str) -> bool:
    """Whether a path ends in one of :data:`IMAGE_SUFFIXES`, in any case."""
    return path.lower().endswith(IMAGE_SUFFIXES)


def is_system(path: str) -> bool:
    """Whether a part of a path is hidden (begins with a dot) or among :data:`SYSTEM_NAMES`."""
    return any(part.startswith(".") or part.lower() in SYSTEM_NAMES for part in path.split("/"))


def _not_an_image(path: str, head: bytes) -> Skipped:
    begins = f"it begins with {head[:12]!r}" if head else "it is empty"
    return Skipped(path, "not_an_image", f"of no image format that is read: {begins}")
