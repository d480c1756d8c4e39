"""Files on local disk or S3 behind one set of functions.

A location is a local path (``~/`` is the home directory), a ``file:///path`` URI or an
``s3://bucket/prefix`` URI. What only resembles a URI is refused: taken for a path, ``s3:/bucket``
would be a local directory. S3 endpoint, region and credentials come from the standard AWS
environment variables and files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

from ier_ray import s3
from ier_ray.errors import StorageError
from ier_ray.local_files import FoundFile, walk

_FAILURES = (OSError, ValueError)

PIECE_BYTES = 8 * 2**20
"""Bytes of a file held in memory at a time while it is copied."""


_SCHEMES = "s3[an]?|gs|gcs|az|abfss?|adl|wasbs?|hdfs|dbfs|hf|https?|s?ftps?|file"
_LIKE_A_URI = re.compile(rf"\s*([a-z][\w+.-]*:/{{2,}}|({_SCHEMES})(:|\W*//))", re.IGNORECASE)
"""Any scheme with two slashes; one of the schemes in use also with fewer, or with another sign."""


def parsed(location: str) -> tuple[str, str]:
    """Where a location is, ``file`` or ``s3``, and the absolute path (or bucket and key) there.

    Raises:
        StorageError: when it is empty, or resembles a URI but is none that can be used.
    """
    scheme, separator, rest = location.partition("://")
    if separator and scheme == "s3" and rest and not rest.startswith("/"):
        return "s3", rest.rstrip("/")
    if separator and scheme == "file" and rest.startswith(("/", "localhost/")):
        return "file", unquote(rest.removeprefix("localhost"))
    wanted = f"{location!r} is no location: give a local path, s3://bucket/prefix or file:///path"
    if not location.strip() or "\0" in location:
        raise StorageError(wanted)
    if _LIKE_A_URI.match(location):
        raise StorageError(f"{wanted} (./{location}, if it is the name of a local file)")
    # As in a shell, a name such as ~x.jpg remains when there is no user x; Path's own would raise.
    return "file", str(Path(os.path.expanduser(location)).absolute())  # noqa: PTH111


def filesystem(location: str) -> tuple[pafs.FileSystem, str]:
    """The pyarrow filesystem of a location and the path within it.

    Raises:
        StorageError: as :func:`parsed`.
    """
    scheme, path = parsed(location)
    return (s3.filesystem() if scheme == "s3" else pafs.LocalFileSystem()), path


def is_remote(location: str) -> bool:
    """Whether a location is not on the local disk."""
    return parsed(location)[0] == "s3"


def absolute(location: str) -> str:
    """A location that does not depend on the working directory."""
    scheme, path = parsed(location)
    return f"s3://{path}" if scheme == "s3" else path


def join(location: str, *parts: str) -> str:
    """A location below another."""
    return "/".join([location.rstrip("/"), *parts])


def exists(location: str) -> bool:
    """Whether a file or directory exists."""
    fs, path = filesystem(location)
    try:
        return bool(fs.get_file_info(path).type != pafs.FileType.NotFound)
    except _FAILURES as error:
        raise StorageError(f"{location}: cannot be reached: {error}") from error


def check_writable(location: str, *, directory: bool = False) -> None:
    """Raise if a file, or files below a directory, certainly cannot be written; writes nothing.

    Raises:
        StorageError: when the location is a directory and not a file (or the other way round),
            is below a file or where this user may not write, or its bucket does not exist.
    """
    try:
        problem = (_s3_problem if is_remote(location) else _local_problem)(location, directory)
    except (OSError, *s3.FAILURES) as error:
        raise StorageError(f"{location}: cannot be written: {error}") from error
    if problem:
        raise StorageError(f"{location}: cannot be written: {problem}")


def _s3_problem(location: str, directory: bool) -> str:
    bucket, _, key = parsed(location)[1].partition("/")
    if not (key or directory):
        return "it is a bucket; give a file in it"
    return "" if s3.has_bucket(bucket) else f"there is no bucket {bucket!r}"


def _local_problem(location: str, directory: bool) -> str:
    path = Path(parsed(location)[1])
    if not directory and path.is_dir():
        return "it is a directory; give a file"
    nearest = next(place for place in (path, *path.parents) if place.exists())
    if nearest.is_file() and (directory or nearest != path):
        return f"{nearest} is a file, not a directory"
    folder = nearest.parent if nearest.is_file() else nearest
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"no permission to write in {folder}"


def read_bytes(location: str) -> bytes:
    """Read a whole file."""
    return _read(location, lambda stream: stream.readall())


def read_range(location: str, start: int, length: int) -> bytes:
    """Read ``length`` bytes of a file, from byte ``start``."""
    return _read(location, lambda stream: stream.read_at(length, start))


def _read(location: str, read: Callable[[pa.NativeFile], bytes]) -> bytes:
    fs, path = filesystem(location)
    with _reading(location), fs.open_input_file(path) as stream:
        return bytes(read(stream))


def read_pieces(location: str) -> Iterator[bytes]:
    """Read a whole file, ``PIECE_BYTES`` at a time."""
    fs, path = filesystem(location)
    with _reading(location):
        stream = fs.open_input_stream(path)
    with stream:
        while True:
            with _reading(location):
                piece = stream.read(PIECE_BYTES)
            if not piece:
                return
            yield piece


@contextmanager
def _reading(location: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(f"{location}: no such file") from error
    except _FAILURES as error:
        raise StorageError(f"{location}: cannot be read: {error}") from error


@contextmanager
def local_file(location: str) -> Iterator[Path]:
    """A local path of a file: its own, or that of a copy that is deleted when the block ends.

    Raises:
        StorageError: when there is no such file, or it cannot be copied.
    """
    if not is_remote(location):
        path = Path(parsed(location)[1])
        if not path.is_file():
            raise StorageError(f"{location}: no such file")
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="ier_ray-") as copy:
        try:
            copy.writelines(read_pieces(location))
            copy.flush()
        except OSError as error:
            raise StorageError(f"{location}: cannot be copied to {copy.name}: {error}") from error
        yield Path(copy.name)


@contextmanager
def writing(location: str) -> Iterator[BinaryIO]:
    """A stream that becomes the file when the block ends.

    If the block raises or a write fails, there is no new file, and an earlier one is unchanged:
    a local file is renamed into place when it is complete; an S3 upload is completed or aborted.
    """
    write = _uploading if is_remote(location) else _writing_beside
    try:
        with write(location) as stream:
            yield stream
    except (OSError, *s3.FAILURES) as error:
        raise StorageError(f"{location}: cannot be written: {error}") from error


@contextmanager
def _writing_beside(location: str) -> Iterator[BinaryIO]:
    target = Path(parsed(location)[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _uploading(location: str) -> Iterator[BinaryIO]:
    bucket, _, key = parsed(location)[1].partition("/")
    with s3.uploading(bucket, key) as stream:
        yield stream


class HashedStream(io.RawIOBase, BinaryIO):
    """Forwards what is written to another stream, and hashes it with SHA-256."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()
        self._stream = stream

    def writable(self) -> bool:
        """Always true."""
        return True

    def write(self, content: Any) -> int:
        """Hash the bytes and forward them."""
        self.sha256.update(content)
        return self._stream.write(content)


def write_bytes(location: str, content: bytes) -> None:
    """Write a file completely or not at all."""
    with writing(location) as stream:
        stream.write(content)


def create_json(location: str, content: Any) -> bool:
    """Write a JSON file unless it exists; True if written. Of concurrent callers, one writes."""
    encoded = _json_bytes(content)
    if is_remote(location):
        return _create_object(location, encoded)
    target = Path(parsed(location)[1])
    complete = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    write_bytes(str(complete), encoded)
    try:
        target.hardlink_to(complete)
    except FileExistsError:
        return False
    except OSError as error:
        raise StorageError(f"{location}: cannot be written: {error}") from error
    finally:
        complete.unlink()
    return True


def _create_object(location: str, content: bytes) -> bool:
    bucket, _, key = parsed(location)[1].partition("/")
    try:
        return s3.create_object(bucket, key, content)
    except s3.FAILURES as error:
        raise StorageError(f"{location}: cannot be written: {error}") from error


def read_json(location: str) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(read_bytes(location))
    except ValueError as error:
        raise StorageError(f"{location}: is not JSON: {error}") from error


def write_json(location: str, content: Any) -> None:
    """Write an indented JSON file; raises ``ValueError`` for NaN, which JSON does not have."""
    write_bytes(location, _json_bytes(content))


def _json_bytes(content: Any) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def copy_directory(source: str, target: str, *, skip: frozenset[str] = frozenset()) -> None:
    """Copy the files of a flat directory, ``manifest.json`` last because it marks it complete."""
    fs, path = filesystem(source)
    try:
        infos = fs.get_file_info(pafs.FileSelector(path))
    except _FAILURES as error:
        raise StorageError(f"{source}: cannot be listed: {error}") from error
    names = [info.base_name for info in infos if info.is_file and info.base_name not in skip]
    for name in sorted(names, key=lambda name: name == "manifest.json"):
        with writing(join(target, name)) as stream:
            stream.writelines(read_pieces(join(source, name)))


def delete_directory(location: str) -> None:
    """Delete a directory and all below it; does nothing if there is none."""
    fs, path = filesystem(location)
    try:
        if fs.get_file_info(path).type == pafs.FileType.Directory:
            fs.delete_dir(path)
    except _FAILURES as error:
        raise StorageError(f"{location}: cannot be deleted: {error}") from error


def delete_file(location: str) -> None:
    """Delete a file; does nothing if there is none.

    Nothing else changes: pyarrow would leave an empty object in place of its directory.
    """
    path = parsed(location)[1]
    try:
        if is_remote(location):
            bucket, _, key = path.partition("/")
            s3.client().delete_object(Bucket=bucket, Key=key)
        else:
            Path(path).unlink(missing_ok=True)
    except (OSError, *s3.FAILURES) as error:
        raise StorageError(f"{location}: cannot be deleted: {error}") from error


def list_directories(location: str) -> list[str]:
    """Names of the directories directly below another, sorted; none if it does not exist."""
    fs, path = filesystem(location)
    try:
        infos = fs.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    except _FAILURES as error:
        raise StorageError(f"{location}: cannot be listed: {error}") from error
    return sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)


def find_files(location: str) -> list[FoundFile]:
    """All files below a directory, by path; those that cannot be read, with the reason.

    Raises:
        StorageError: when the directory is missing or cannot be listed.
    """
    fs, path = filesystem(location)
    try:
        if not is_remote(location):
            return walk(path)
        infos = fs.get_file_info(pafs.FileSelector(path, recursive=True))
    except _FAILURES as error:
        raise StorageError(f"{location}: cannot be listed: {error}") from error
    prefix = len(path.rstrip("/")) + 1
    return [_object(name) for name in sorted(info.path[prefix:] for info in infos if info.is_file)]


def _object(key: str) -> FoundFile:
    if _NO_NAME.isdisjoint(key.split("/")):
        return FoundFile(key)
    return FoundFile(
        key, "unreadable_name", "a part of the key is empty, '.' or '..': rename the object"
    )


_NO_NAME = {"", ".", ".."}


def list_files(location: str) -> list[str]:
    """Paths of all readable files below a directory, relative to it, sorted; each file once.

    Raises:
        StorageError: when the directory is missing or cannot be listed.
    """
    return [file.path for file in find_files(location) if file.problem is None]
