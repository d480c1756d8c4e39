"""Which pictures are in which job, for a later call to go on with it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from ier_ray import storage
from ier_ray.errors import StorageError
from ier_ray.remote_explanations.pictures import PictureFile
from ier_ray.remote_explanations.run import Run

NAME = ".jobs.json"
"""Of the file; no explanation's files begin with a dot."""


@dataclass(frozen=True)
class Batch:
    """The pictures of a job."""

    pictures: tuple[PictureFile, ...]
    digests: tuple[str, ...]
    """SHA-256 of each."""

    def key(self, run: Run) -> str:
        """Equal for jobs that are to give the same."""
        settings = run.settings.model_dump_json()
        parts = [run.info.weights_sha256, run.info.name, settings, run.target, self.digests]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class OpenJobs:
    """The jobs whose pictures are not all written, in a file among those that are.

    Args:
        output: directory or s3:// URI of the explanations.
    """

    def __init__(self, output: str) -> None:
        self._file = storage.join(output, NAME)
        self._writing = threading.Lock()
        self._jobs: dict[str, dict[str, str]] = {}
        if storage.exists(self._file):
            self._jobs = self._read()

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The key of each job, and the digests of its pictures by their locations."""
        return iter(list(self._jobs.items()))

    def add(self, key: str, batch: Batch) -> None:
        """A job that is about to be submitted."""
        locations = (picture.location for picture in batch.pictures)
        with self._writing:
            self._jobs[key] = dict(zip(locations, batch.digests, strict=True))
            storage.write_json(self._file, self._jobs)

    def remove(self, key: str) -> None:
        """A job that nothing more is expected of."""
        with self._writing:
            if self._jobs.pop(key, None) is None:
                return
            if self._jobs:
                storage.write_json(self._file, self._jobs)
            else:
                storage.delete_file(self._file)

    def _read(self) -> dict[str, dict[str, str]]:
        found = storage.read_json(self._file)
        if not isinstance(found, dict) or not all(
            isinstance(each, dict) for each in found.values()
        ):
            raise StorageError(f"{self._file}: holds no open jobs: delete it")
        return dict(found)
