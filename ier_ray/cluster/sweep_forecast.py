"""Tells how long a sweep takes when its first trial has finished."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ray import tune

from ier_ray.cluster.forecast import Forecast, duration
from ier_ray.cluster.packing import Group

logger = logging.getLogger(__name__)


class SweepForecast(tune.Callback):
    """Logs the time and the cost of the remaining trials, once.

    Args:
        run: what each trial holds.
        trials: trials of the sweep.
        epochs: epochs of a trial that is not stopped.
        at_once: the number of trials that may be live at the same time.
    """

    def __init__(self, run: Group, *, trials: int, epochs: int, at_once: Callable[[], int]) -> None:
        self.run, self.trials, self.epochs, self.at_once = run, trials, epochs, at_once
        self.told = False

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ARG002
        """Called by Tune when a trial has ended, or was stopped early."""
        done = trial.last_result.get("epoch", 0)
        left = self.epochs_left([one for one in trials if one is not trial])
        if self.told or not done or not left:
            return
        self.told = True
        seconds = trial.last_result["time_total_s"]
        forecast = Forecast.of(self.run, left, epoch_seconds=seconds / done, at_once=self.at_once())
        logger.info(
            "the first trial finished, %d epochs in %s; the other %d take %s",
            done,
            duration(seconds),
            len(left),
            forecast,
        )

    def epochs_left(self, others: list[Any]) -> list[int]:
        """Epochs that are left of each trial that has not ended, begun or not.

        Args:
            others: all trials but the one that has just finished.
        """
        begun = [
            self.epochs - one.last_result.get("epoch", 0) for one in others if not one.is_finished()
        ]
        new = [self.epochs] * (self.trials - len(others) - 1)
        return [epochs for epochs in (*begun, *new) if epochs > 0]
