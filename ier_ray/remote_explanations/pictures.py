"""Which pictures are explained, and the token of the service."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ier_ray import storage
from ier_ray.data.sources.folders import has_image_suffix
from ier_ray.errors import SettingsError, StorageError

TOKEN = "IER_RAY_TOKEN"  # noqa: S105 (the name of an environment variable)
"""Where the token is, unless a file has it."""


@dataclass(frozen=True)
class PictureFile:
    """A picture to explain."""

    name: str
    """As it was given, or found in a folder."""
    location: str

    @property
    def title(self) -> str:
        """Its name without suffix."""
        return PurePosixPath(self.location).stem


def token_of(file: str | None) -> str | None:
    """The token of a file, or of the environment; None if there is none.

    Raises:
        StorageError: when the file cannot be read.
        SettingsError: when it holds no token; its content is not repeated.
    """
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        found = storage.read_bytes(file).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise SettingsError(f"token_file: {file} holds no token") from error
    if not found:
        raise SettingsError(f"token_file: {file} is empty")
    return found


def pictures_of(locations: Sequence[str], output: str) -> list[PictureFile]:
    """Picture files, and those in folders, each once; none that an earlier call wrote.

    Raises:
        SettingsError: when a folder has none.
    """
    written = f"{os.path.realpath(storage.absolute(output))}/"
    found: dict[str, PictureFile] = {}
    for location in locations:
        names = list(_names(location, written))
        if not names:
            raise SettingsError(f"images: {location} has no pictures")
        for name in names:
            place = storage.absolute(name)
            found.setdefault(place, PictureFile(name, place))
    return list(found.values())


def _names(location: str, written: str) -> Iterator[str]:
    if has_image_suffix(location):
        yield location
        return
    try:
        files = storage.list_files(location)
    except StorageError:  # a file without a suffix, or nothing: reading it tells
        yield location
        return
    for file in filter(has_image_suffix, files):
        name = storage.join(location, file)
        if not os.path.realpath(storage.absolute(name)).startswith(written):
            yield name
