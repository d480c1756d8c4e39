"""Walking a local folder: each file once, whatever links there are, and under any name."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

Problem = Literal["link", "broken_link", "not_a_file", "unreadable_name"]
"""Why a found file is not read under its name."""

Identity = str | tuple[int, int]


class FoundFile(NamedTuple):
    """A file below a folder."""

    path: str
    """Relative to the folder. Bytes that are not UTF-8 are surrogates, as Python has them."""
    problem: Problem | None = None
    detail: str = ""


def printable(path: str) -> str:
    r"""A path as UTF-8 text; other bytes of its name as ``\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def walk(root: str) -> list[FoundFile]:
    """All files below a folder, by path.

    Links to folders are followed, except to one that was visited or that contains ``root``. Of the
    names of one file, also hard links, one is without a problem: one that is no symbolic link if
    there is such, else the first.

    Raises:
        OSError: when a folder cannot be read.
    """
    found = list(_Walk(root))
    return sorted(found, key=lambda file: file.path)


class _Walk:
    """The state of a walk: what was visited, and the links that wait."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self._real_root = os.path.realpath(root)
        self._folders = {self._real_root}
        self._files: dict[Identity, str] = {}
        self._links: deque[str] = deque()

    def __iter__(self) -> Iterator[FoundFile]:
        yield from self._below("", self._real_root)
        while self._links:  # after all real files, whose names come first
            yield from self._link(self._links.popleft())

    def _below(self, start: str, real_start: str) -> Iterator[FoundFile]:
        folders = [(start, real_start)]
        while folders:
            folder, real = folders.pop()
            with os.scandir(self._root / folder) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
            for entry in ordered:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_symlink():
                    self._links.append(path)
                elif entry.is_dir():
                    self._folders.add(f"{real}/{entry.name}")
                    folders.append((path, f"{real}/{entry.name}"))
                else:
                    yield self._file(path, f"{real}/{entry.name}", entry.stat())

    def _link(self, path: str) -> Iterator[FoundFile]:
        full = self._root / path
        try:
            status = full.stat()
        except OSError as error:  # it leads nowhere, or in a circle
            yield FoundFile(path, "broken_link", f"a link that leads nowhere: {error.strerror}")
            return
        real = os.path.realpath(full)
        if not stat.S_ISDIR(status.st_mode):
            yield self._file(path, real, status)
        elif real not in self._folders and not f"{self._real_root}/".startswith(f"{real}/"):
            self._folders.add(real)
            yield from self._below(path, real)

    def _file(self, path: str, real: str, status: os.stat_result) -> FoundFile:
        if not stat.S_ISREG(status.st_mode):
            return FoundFile(path, "not_a_file", "a device, pipe or socket")
        # Network filesystems may number all files alike, but then count one link of each.
        shared = status.st_nlink > 1
        identity: Identity = (status.st_dev, status.st_ino) if shared else real
        first = self._files.setdefault(identity, path)
        if first != path:
            return FoundFile(path, "link", f"the same file as {printable(first)}")
        if printable(path) != path:
            return FoundFile(path, "unreadable_name", "the name is not UTF-8: rename the file")
        return FoundFile(path)
