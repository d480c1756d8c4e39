"""The trials of a sweep: each has a record file of its own, from which a sweep is rebuilt.

``SWEEP/trials/trial-0000/trial.json`` is written when the trial is proposed, after each of its
epochs and when it ends, each time completely or not at all. Nothing else has to survive a crash:
the search and the table of trials are functions of these records.

Trials are compared at rungs. One that reaches a rung leaves its score there, in the name of an
empty file: ``SWEEP/rungs/000002/trial-0000=0.75``. However many trials there are, one listing tells
the scores of all. A trial that is started again reaches its rungs again, under the same names.

A trial of several folds has a run for each: ``trial-0000/fold-0`` validates on the fold of the base
setting. The weights that are kept of a trial are those of that run's best epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from ier_ray import storage
from ier_ray.config import Settings
from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.history import Record, running_mean
from ier_ray.tuning.space import Point, with_values

RECORD = "trial.json"
RUNGS = "rungs"
WEIGHTS = "best"
"""Directory of the best epoch of a trial's first fold, without trainer state."""
FINISHED = "finished"
"""Empty file in the run of a fold that has ended and is followed by another."""

State = Literal["unfinished", "finished", "stopped", "failed"]
"""unfinished: waits, runs or was interrupted; finished: trained all its epochs; stopped: by the
scheduler; failed: by an error that it would meet again, such as divergence."""


class TrialRecord(Settings):
    """What is known of a trial."""

    name: str
    point: dict[str, Any]
    """The searched settings' values, by dotted name."""
    state: State = "unfinished"
    history: list[Record] = Field([])
    """One record per epoch."""
    error: str | None = None
    """Why it failed, or why it was interrupted last."""

    @property
    def ended(self) -> bool:
        """Whether the trial is not to be started again."""
        return self.state != "unfinished"

    @property
    def ranked(self) -> bool:
        """Whether the trial has weights that may be the best."""
        return self.state in ("finished", "stopped")

    @property
    def time(self) -> int:
        """The newest epoch in folds x epochs; 0 before the first epoch has ended."""
        return int(self.history[-1]["epoch"]) if self.history else 0

    @property
    def score(self) -> float | None:
        """The running mean of its folds' best scores; None before the first epoch has ended."""
        return running_mean(self.history) if self.history else None

    def with_epoch(self, metrics: Record) -> TrialRecord:
        """The record after an epoch. One that is trained again replaces itself and those after."""
        before = [epoch for epoch in self.history if epoch["epoch"] < metrics["epoch"]]
        return self.model_copy(update={"history": [*before, metrics], "error": None})


def rank(record: TrialRecord) -> tuple[bool, float, str]:
    """Sort key: the best score first, what has no weights last, ties by name."""
    return (not record.ranked, math.inf if record.score is None else -record.score, record.name)


@dataclass(frozen=True)
class TrialStore:
    """The trials' records and weights below a sweep's directory.

    Args:
        location: the sweep's directory.
    """

    location: str

    @property
    def trials(self) -> str:
        """Where the trials' directories are."""
        return storage.join(self.location, "trials")

    def directory(self, name: str) -> str:
        """The directory of a trial."""
        return storage.join(self.trials, name)

    def weights(self, name: str) -> str:
        """The checkpoint of the best epoch of a trial's first fold, once that has ended."""
        return storage.join(self.directory(name), WEIGHTS)

    def settings(self, base: TrainSettings, record: TrialRecord) -> TrainSettings:
        """The settings of a trial, which is a run below the sweep's directory."""
        changes = {"name": record.name, "storage": self.trials}
        return with_values(base, record.point).model_copy(update=changes)

    def create(self, index: int, point: Point) -> TrialRecord:
        """The record of a new trial, written."""
        record = TrialRecord(name=trial_name(index), point=point)
        self.write(record)
        return record

    def write(self, record: TrialRecord) -> None:
        """Write a trial's record."""
        where = storage.join(self.directory(record.name), RECORD)
        storage.write_json(where, record.model_dump(mode="json"))

    def read(self, name: str) -> TrialRecord:
        """A trial's record."""
        where = storage.join(self.directory(name), RECORD)
        return TrialRecord.model_validate(storage.read_json(where))

    def reach(self, rung: int, name: str, score: float) -> list[float]:
        """Leave a trial's score at a rung; returns those of the others that have reached it."""
        directory = storage.join(self.location, RUNGS, f"{rung:06d}")
        storage.write_bytes(storage.join(directory, f"{name}={score!r}"), b"")
        left = [file for file in storage.list_files(directory) if not file.startswith(".")]
        reached = dict(file.split("=") for file in left)  # others are being written
        return [float(reached[other]) for other in reached if other != name]

    def all(self) -> list[TrialRecord]:
        """All records, in the order in which the trials were proposed."""
        found: list[TrialRecord] = []
        while storage.exists(storage.join(self.directory(trial_name(len(found))), RECORD)):
            found.append(self.read(trial_name(len(found))))
        return found

    def tidy(self, record: TrialRecord, *, keep_weights: bool) -> None:
        """Delete the checkpoints of an ended trial, and its best epoch's weights unless kept."""
        directory = self.directory(record.name)
        delete_checkpoints(directory)
        for name in storage.list_directories(directory):
            if name.startswith("fold-"):
                delete_checkpoints(storage.join(directory, name))
            elif name == WEIGHTS and not keep_weights:
                storage.delete_directory(storage.join(directory, name))


def delete_checkpoints(run: str) -> None:
    """Delete all checkpoints of a trial's run."""
    for name in storage.list_directories(run):
        if name.startswith(("epoch-", "checkpoint_")):
            storage.delete_directory(storage.join(run, name))


def finish_fold(run: str) -> None:
    """Note that a fold needs no more training, and delete its checkpoints."""
    storage.write_bytes(storage.join(run, FINISHED), b"")
    delete_checkpoints(run)


def is_finished(run: str) -> bool:
    """Whether :func:`finish_fold` has noted it."""
    return storage.exists(storage.join(run, FINISHED))


def trial_name(index: int) -> str:
    """The name of the trial that was proposed after ``index`` others."""
    return f"trial-{index:04d}"


def kept(records: Iterable[TrialRecord], count: int) -> set[str]:
    """Names of the best trials, whose weights are kept."""
    best = sorted((record for record in records if record.ranked), key=rank)
    return {record.name for record in best[:count]}
