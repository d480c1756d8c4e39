"""A trial's history: one record per epoch of every fold that the trial has begun.

A trial's time is folds x epochs: ``epoch`` of a record is ``fold * schedule.epochs`` and the epoch
within the fold, also after a fold that ended early. A trial of one fold has records without
``fold``; its time is the epoch, and a mean over its folds is the value of its best epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from ier_ray.training.sections import ScheduleSettings
from ier_ray.training.state import RunProgress

Record = dict[str, Any]
"""Of an epoch."""


def by_fold(history: Iterable[Record]) -> list[list[Record]]:
    """The records of each fold that was begun, in order."""
    folds: dict[int, list[Record]] = {}
    for record in history:
        folds.setdefault(record.get("fold", 0), []).append(record)
    return list(folds.values())


def best_epoch(history: Iterable[Record]) -> Record:
    """The record of the epoch with the best score; of equals, the latest."""
    return max(history, key=lambda record: (record["score"], record["epoch"]))


def best_epochs(history: Iterable[Record]) -> list[Record]:
    """The record of each fold's best epoch so far."""
    return [best_epoch(fold) for fold in by_fold(history)]


def running_mean(history: Sequence[Record]) -> float:
    """The mean of the folds' best scores so far, of at least one epoch."""
    return fmean(best["score"] for best in best_epochs(history))


def curve(history: Sequence[Record]) -> dict[int, float]:
    """The score after each epoch; in a later fold, its mean with the best scores of those before.

    The newest fold's best value is the running mean.
    """
    found: dict[int, float] = {}
    before: list[float] = []
    for fold in by_fold(history):
        for record in fold:
            found[record["epoch"]] = fmean([*before, record["score"]])
        before.append(best_epoch(fold)["score"])
    return found


def next_epoch(
    history: Sequence[Record], schedule: ScheduleSettings, folds: int
) -> tuple[int, int]:
    """The fold (from 0) and the epoch within it (from 1) that a trial of ``folds`` trains next."""
    if not history:
        return 0, 1
    newest = by_fold(history)[-1]
    fold = newest[-1].get("fold", 0)
    epoch = newest[-1]["epoch"] - fold * schedule.epochs
    ended = RunProgress(epoch, 0, newest).is_complete(schedule)
    return (fold + 1, 1) if ended and fold + 1 < folds else (fold, epoch + 1)
