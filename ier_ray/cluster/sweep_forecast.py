"""Forecasts how long the rest of a sweep takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from statistics import fmean

from ier_ray.cluster.forecast import Forecast, duration
from ier_ray.cluster.packing import Group
from ier_ray.tuning.trials import TrialRecord

logger = logging.getLogger(__name__)


class SweepForecast:
    """The time and the cost of the remaining trials, logged once when the first one has ended.

    Args:
        run: what each trial holds.
        trials: trials of the sweep.
        epochs: epochs of a trial that is not stopped, over all its folds.
        at_once: the number of trials that may be live at the same time.
    """

    def __init__(self, run: Group, *, trials: int, epochs: int, at_once: Callable[[], int]) -> None:
        self.run, self.trials, self.epochs, self.at_once = run, trials, epochs, at_once
        self.told = False

    def tell(self, ended: TrialRecord, records: Sequence[TrialRecord]) -> None:
        """Log it, unless that is done, or nothing is known or left.

        Args:
            ended: a trial that has just ended, or was stopped early.
            records: those of all trials so far.
        """
        done, left = len(ended.history), self.epochs_left(records)
        if self.told or not done or not left:
            return
        self.told = True
        seconds = sum(epoch_seconds([ended]))
        logger.info(
            "the first trial ended, %d epochs in %s; the other %d take %s",
            done,
            duration(seconds),
            len(left),
            Forecast.of(self.run, left, epoch_seconds=seconds / done, at_once=self.at_once()),
        )

    def remaining(self, records: Sequence[TrialRecord]) -> Forecast | None:
        """What is left, by all epochs so far; None before the first one and after the last.

        Args:
            records: those of all trials so far.
        """
        known, left = epoch_seconds(records), self.epochs_left(records)
        if not known or not left:
            return None
        return Forecast.of(
            self.run, left, epoch_seconds=fmean(known), at_once=max(1, self.at_once())
        )

    def epochs_left(self, records: Sequence[TrialRecord]) -> list[int]:
        """Epochs that are left of each trial that has not ended, begun or not."""
        begun = [self.epochs - one.time for one in records if not one.ended]
        new = [self.epochs] * (self.trials - len(records))
        return [epochs for epochs in (*begun, *new) if epochs > 0]


def epoch_seconds(records: Sequence[TrialRecord]) -> list[float]:
    """Seconds of each epoch of some trials."""
    return [float(epoch["seconds"]) for one in records for epoch in one.history]
