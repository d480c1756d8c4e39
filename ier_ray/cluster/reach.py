"""What a node must be able to reach before training workers are started there.

Nodes import this module to answer: it needs neither Ray nor torch.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass

from ier_ray import storage
from ier_ray.data.shards import ShardSet
from ier_ray.errors import IerRayError, StorageError
from ier_ray.probe_files import check_probe


@dataclass(frozen=True)
class Answer:
    """What a node found."""

    problems: tuple[str, ...]
    """What is wrong there, one text each; none if a worker may start."""
    temporary: str
    """The directory for temporary files."""
    free: int
    """Bytes that are free in it."""


@dataclass(frozen=True)
class Reach:
    """What every node that trains reads and writes."""

    storage: str
    """The setting ``storage``."""
    probe: str
    """A file there that the driver has written."""
    content: bytes
    """Its content."""
    shards: tuple[tuple[str, str, str], ...]
    """Setting, location and content hash of each shard set."""
    files: tuple[tuple[str, str], ...]
    """Setting and location of each file that the run starts from."""

    def answer(self) -> Answer:
        """What is wrong on the node of this process."""
        found = [self._storage_problem()]
        found += [self._shards_problem(*shards) for shards in self.shards]
        found += [self._file_problem(*file) for file in self.files]
        directory = tempfile.gettempdir()
        return Answer(
            problems=tuple(problem for problem in found if problem),
            temporary=directory,
            free=shutil.disk_usage(directory).free,
        )

    def _storage_problem(self) -> str:
        try:
            check_probe(self.probe, self.content)
        except StorageError as error:
            return f"storage is {self.storage}, which cannot be used there ({error})"
        return ""

    def _shards_problem(self, setting: str, location: str, content_hash: str) -> str:
        try:
            shards = ShardSet.open(location)
            if shards.manifest.content_hash != content_hash:
                return f"{setting} is {location}, which has other data there"
            for number in {0, len(shards.files) - 1}:
                shards.parquet(number).close()
        except IerRayError as error:
            return f"{setting} is {location}, which cannot be read there ({error})"
        return ""

    def _file_problem(self, setting: str, location: str) -> str:
        try:
            found = storage.exists(location)
        except StorageError as error:
            return f"{setting} is {location}, which cannot be reached there ({error})"
        return "" if found else f"{setting} is {location}, which is not there"
