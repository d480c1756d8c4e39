"""What the checks before a run say on a cluster that is not the session's: in a process of its own.

It reads settings, one JSON text per line, and answers each in one line.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from ier_ray.errors import IerRayError
from ier_ray.training.settings import TrainSettings


@dataclass(frozen=True)
class Said:
    """What the checks say of a run."""

    refused: str
    """The error with its class; empty if the run may start."""
    warnings: list[str]
    seconds: float
    concurrent: int
    """Runs that fit at the same time."""


@dataclass(frozen=True)
class Asker:
    """A process that has joined a cluster."""

    process: subprocess.Popen[str]

    def __call__(self, settings: TrainSettings) -> Said:
        """Ask about a run."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(settings.model_dump_json() + "\n")
        self.process.stdin.flush()
        return Said(**json.loads(self.process.stdout.readline()))


@contextmanager
def asker(address: str) -> Iterator[Asker]:
    """A process that has joined the cluster at an address."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        env={**os.environ, "RAY_ADDRESS": address},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Asker(process)
    finally:
        process.kill()
        process.communicate(timeout=30)


class Kept(logging.Handler):
    """Keeps warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


def main() -> None:
    from ier_ray.cluster.concurrency import TrialsThatFit  # noqa: PLC0415 (in its own process)
    from ier_ray.cluster.connection import connect  # noqa: PLC0415
    from ier_ray.cluster.preflight import check_cluster, footprint_of_run  # noqa: PLC0415
    from ier_ray.cluster.runs import group_of  # noqa: PLC0415

    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no reply
    connect()
    for line in sys.stdin:
        settings = TrainSettings.model_validate_json(line)
        kept, refused, started = Kept(), "", time.monotonic()
        logging.getLogger("ier_ray").addHandler(kept)
        try:
            run = f"{settings.storage}/{settings.name}"
            check_cluster(settings, run, footprint_of_run(settings))
        except IerRayError as error:
            refused = f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - started
        logging.getLogger("ier_ray").removeHandler(kept)
        at_once = TrialsThatFit(group_of(settings, driver_cpus=0.01))()
        said = Said(refused, kept.told, seconds, at_once)
        replies.write(json.dumps(asdict(said)) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
