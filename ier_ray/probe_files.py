"""A small file that is at a location only for a while, to see who can read it there."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ier_ray import storage
from ier_ray.errors import StorageError

logger = logging.getLogger(__name__)


@contextmanager
def probe_file(directory: str) -> Iterator[tuple[str, bytes]]:
    """The location of a new file in a directory, and its content, which nothing else has.

    At the end the file is deleted, and with it the directories that had to be made.

    Raises:
        StorageError: when the file cannot be written.
    """
    location = storage.join(directory, f".probe-{uuid.uuid4().hex}")
    content = uuid.uuid4().bytes
    made = [] if storage.is_remote(directory) else missing_directories(directory)
    try:
        try:
            storage.write_bytes(location, content)
        except StorageError as error:
            raise StorageError(f"{error}; give a storage where this user may write") from error
        yield location, content
    finally:
        delete(location)
        with suppress(OSError):  # another run may use them by now
            for path in made:
                path.rmdir()


def missing_directories(directory: str) -> list[Path]:
    """The local directories that writing into one would make, the innermost first."""
    path = Path(storage.parsed(directory)[1])
    return [place for place in (path, *path.parents) if not place.exists()]


def delete(location: str) -> None:
    """Delete a file if it is there; if it has to stay, that is a warning."""
    try:
        storage.delete_file(location)
    except StorageError as error:
        logger.warning("%s; delete it yourself", error)


def check_probe(location: str, content: bytes) -> None:
    """Raise unless this process reads a probe file as it was written, and can write beside it.

    Raises:
        StorageError: when the file is not there, is another one, or nothing can be written.
    """
    if not storage.exists(location) or storage.read_bytes(location) != content:
        raise StorageError("what the driver has written is not there")
    answer = f"{location}-{uuid.uuid4().hex}"
    storage.write_bytes(answer, content)
    delete(answer)
