"""The trials of a sweep: each has a record file of its own, from which a sweep is rebuilt.

``SWEEP/trials/trial-0000/trial.json`` is written when the trial is proposed, after each of its
epochs and when it ends, each time completely or not at all. Nothing else has to survive a crash:
the search and the table of trials are functions of these records.

Trials are compared at rungs. One that reaches a rung leaves its best score there, in the name of an
empty file: ``SWEEP/rungs/000002/trial-0000=0.75``. However many trials there are, one listing tells
the scores of all. A trial that is started again reaches its rungs again, under the same names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from ier_ray import storage
from ier_ray.config import Settings
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import RunProgress
from ier_ray.tuning.halving import Halving
from ier_ray.tuning.space import Point, with_values

RECORD = "trial.json"
RUNGS = "rungs"
WEIGHTS = "best"
"""Directory of an ended trial's best epoch, without trainer state."""

State = Literal["unfinished", "finished", "stopped", "failed"]
"""unfinished: waits, runs or was interrupted; finished: trained all its epochs; stopped: by the
scheduler; failed: by an error that it would meet again, such as divergence."""


class TrialRecord(Settings):
    """What is known of a trial."""

    name: str
    point: dict[str, Any]
    """The searched settings' values, by dotted name."""
    state: State = "unfinished"
    history: list[dict[str, Any]] = Field([])
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
    def best(self) -> dict[str, Any] | None:
        """The record of the epoch with the best score."""
        return best_epoch(self.history) if self.history else None

    @property
    def score(self) -> float | None:
        """The best score so far; None before the first epoch has ended."""
        return None if self.best is None else float(self.best["score"])

    def with_epoch(self, metrics: dict[str, Any]) -> TrialRecord:
        """The record after an epoch. One that is trained again replaces itself and those after."""
        history = [*self.history[: metrics["epoch"] - 1], metrics]
        return self.model_copy(update={"history": history, "error": None})


def best_epoch(history: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The record of the epoch with the best score; of equals, the latest."""
    return max(history, key=lambda record: (record["score"], record["epoch"]))


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
        """The checkpoint of an ended trial's best epoch."""
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
        for name in storage.list_directories(directory):
            if name.startswith(("epoch-", "checkpoint_")) or (name == WEIGHTS and not keep_weights):
                storage.delete_directory(storage.join(directory, name))


def trial_name(index: int) -> str:
    """The name of the trial that was proposed after ``index`` others."""
    return f"trial-{index:04d}"


def kept(records: Iterable[TrialRecord], count: int) -> set[str]:
    """Names of the best trials, whose weights are kept."""
    best = sorted((record for record in records if record.ranked), key=rank)
    return {record.name for record in best[:count]}


@dataclass
class TrialLog:
    """Keeps a running trial's record, and asks the scheduler whether the trial goes on."""

    store: TrialStore
    record: TrialRecord
    halving: Halving | None
    """The scheduler; None: every trial trains all its epochs."""

    def reopened(self) -> TrialLog:
        """The same with the record as it is now: another process may have written it."""
        return replace(self, record=self.store.read(self.record.name))

    def add(self, metrics: dict[str, Any]) -> None:
        """Record an epoch."""
        self.record = self.record.with_epoch(metrics)
        self.store.write(self.record)

    def should_stop(self, epoch: int) -> bool:
        """Whether the scheduler stops the trial after an epoch, by all that have come so far."""
        if self.halving is None or epoch not in self.halving.rungs:
            return False
        best = max(scores(self.record)[:epoch])
        return self.halving.stops(best, self.store.reach(epoch, self.record.name, best))

    def end(self, progress: RunProgress, *, complete: bool) -> None:
        """Record the end of a trial whose weights are in place."""
        self._end("finished" if complete else "stopped", history=progress.history)

    def fail(self, error: str) -> None:
        """Record that a trial cannot go on."""
        self._end("failed", error=error)

    def _end(self, state: State, **changes: Any) -> None:
        now = self.reopened().record
        self.record = now.model_copy(update={"state": state, "error": None, **changes})
        self.store.write(self.record)


def scores(record: TrialRecord) -> list[float]:
    """The score of each epoch."""
    return [float(epoch["score"]) for epoch in record.history]
