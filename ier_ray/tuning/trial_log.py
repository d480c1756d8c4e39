"""What a running trial keeps: its record after each epoch, and its scores at the rungs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ier_ray.tuning.halving import Halving
from ier_ray.tuning.history import Record, running_mean
from ier_ray.tuning.trials import State, TrialRecord, TrialStore


@dataclass
class TrialLog:
    """Keeps a running trial's record, and asks the scheduler whether the trial goes on."""

    store: TrialStore
    record: TrialRecord
    halving: Halving | None
    """The scheduler; None: every trial trains all its epochs."""
    fold: int | None = None
    """The fold that trains; None: the trial has only one."""
    start: int = 0
    """The trial's time when the fold begins."""

    @property
    def run_name(self) -> str:
        """Name of the fold's run among those of the sweep."""
        return self.record.name if self.fold is None else f"{self.record.name}-fold-{self.fold}"

    @property
    def trained(self) -> list[Record]:
        """The fold's records, numbered within the fold."""
        return [
            {**epoch, "epoch": epoch["epoch"] - self.start}
            for epoch in self.record.history
            if epoch["epoch"] > self.start
        ]

    def timed(self, metrics: Record) -> Record:
        """The record of an epoch of the fold, in the trial's time."""
        if self.fold is None:
            return metrics
        return {**metrics, "epoch": self.start + metrics["epoch"], "fold": self.fold}

    def reopened(self) -> TrialLog:
        """The same with the record as it is now: another process may have written it."""
        return replace(self, record=self.store.read(self.record.name))

    def add(self, metrics: Record) -> None:
        """Record an epoch of the fold."""
        self.record = self.record.with_epoch(self.timed(metrics))
        self.store.write(self.record)

    def should_stop(self, epoch: int) -> bool:
        """Whether the scheduler stops the trial after an epoch of the fold (from 1)."""
        return epoch > 0 and self._stops_at(self.start + epoch)

    def should_not_begin(self) -> bool:
        """Whether the scheduler stops the trial between the fold before and this one.

        A fold that has been begun is not asked again.
        """
        return not self.trained and self._stops_at(self.start)

    def _stops_at(self, time: int) -> bool:
        """Whether it stops by all trials that have come so far.

        After a fold that ended early, the trial is at all rungs up to the next fold.
        """
        past = [epoch for epoch in self.record.history if epoch["epoch"] <= time]
        if self.halving is None or not past:
            return False
        halving, score = self.halving, running_mean(past)
        return any(
            halving.stops(score, self.store.reach(rung, self.record.name, score))
            for rung in halving.rungs
            if past[-1]["epoch"] <= rung <= time
        )

    def end(self, trained: Iterable[Record], *, complete: bool) -> None:
        """Record the end of a trial whose weights are in place; what this fold has trained, too."""
        before = [epoch for epoch in self.record.history if epoch["epoch"] <= self.start]
        history = [*before, *map(self.timed, trained)]
        self._end("finished" if complete else "stopped", history=history)

    def fail(self, error: str) -> None:
        """Record that a trial cannot go on."""
        self._end("failed", error=error)

    def _end(self, state: State, **changes: Any) -> None:
        now = self.reopened().record
        self.record = now.model_copy(update={"state": state, "error": None, **changes})
        self.store.write(self.record)
