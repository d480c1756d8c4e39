"""What a sweep shows while it runs: each epoch, a table in a terminal, and trials that stand still.

Tune calls the methods here several times per second, whether anything is reported or not.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ray.tune import Callback
from rich.console import Console
from rich.live import Live

from ier_ray.cluster.forecast import duration
from ier_ray.cluster.trial_queue import TrialQueue
from ier_ray.errors import StorageError
from ier_ray.training.loop import epoch_line
from ier_ray.training.schedule import epoch_passes
from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.history import next_epoch
from ier_ray.tuning.live_table import live_table
from ier_ray.tuning.space import described
from ier_ray.tuning.trials import TrialRecord
from ier_ray.tuning.watchdog import Stall, Watchdog

logger = logging.getLogger(__name__)

DRAW_S = 1.0
"""Seconds after which the table is drawn again."""
READ_S = 2.0
"""Seconds after which the records of trials of several workers are read again."""


class SweepProgress(Callback):
    """Follows the trials of a sweep.

    Args:
        queue: the sweep's trials.
    """

    def __init__(self, queue: TrialQueue) -> None:
        self.queue = queue
        self.folds = queue.settings.search.folds
        self.watchdog = Watchdog()
        self.running: dict[str, TrialRecord] = {}
        """The trials that run, with their epochs so far."""
        self.processes: dict[str, str] = {}
        """Where the running trials are."""
        self.live: Live | None = None
        """The table, where there is a terminal."""
        self._draw_at = self._read_at = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table below all other output, if standard error is a terminal."""
        console = Console(stderr=True)
        if not sys.stderr.isatty() or console.is_dumb_terminal:
            yield
            return
        with Live(console=console, auto_refresh=False, transient=True) as self.live:
            yield

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Called by Tune when a trial's process has started."""
        name = trial.config["trial"]
        self.running[name] = self.queue.records[name]
        settings = self.settings(name)
        ended, epoch = self.next_epoch(name, settings)
        self.watchdog.started(name, epoch=ended, work=work_of(settings, epoch))

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Called by Tune when a trial has reported."""
        name = trial.config["trial"]
        self.processes[name] = f"process {result['pid']} on {result['node_ip']}"
        self.epoch_ended(name, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Called by Tune when a trial has ended by itself."""
        self.ended(trial.config["trial"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Called by Tune when a trial was lost."""
        self.ended(trial.config["trial"])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        """Called by Tune several times per second."""
        now = time.monotonic()
        if self.queue.settings.train.scaling.num_workers > 1 and now >= self._read_at:
            self._read_at = now + READ_S
            self.read_records()
        for stall in self.watchdog.look(now):
            logger.warning("%s", self.stall_line(stall))
        if self.live is not None and now >= self._draw_at and self.queue.records:
            self._draw_at = now + DRAW_S
            self.draw(self.live)

    def read_records(self) -> None:
        """Learn of the epochs of nested runs, which report to Tune only when they end."""
        for name in self.running:
            try:
                history = self.queue.store.read(name).history
            except StorageError:
                continue  # the next look may succeed
            if history:
                self.epoch_ended(name, history[-1])

    def epoch_ended(self, name: str, record: Mapping[str, Any]) -> None:
        """Take note of an epoch of a running trial, unless that is done: trials repeat reports."""
        trial = self.running[name]
        key = (record["epoch"], record["seconds"])
        if key in [(past["epoch"], past["seconds"]) for past in trial.history]:
            return
        self.running[name], settings = trial.with_epoch(dict(record)), self.settings(name)
        level = logging.INFO if self.live is None else logging.DEBUG
        epochs = self.folds * settings.schedule.epochs
        logger.log(level, "%s: %s", name, epoch_line(dict(record), epochs))
        ended, epoch = self.next_epoch(name, settings)
        stood = self.watchdog.reported(
            name,
            epoch=ended,
            seconds=float(record["seconds"]),
            work=work_of(settings, epoch),
            starting=epoch == 1,
        )
        if stood is not None:
            shown = duration(stood)
            logger.info("%s goes on: epoch %d ended after %s", name, record["epoch"], shown)

    def ended(self, name: str) -> None:
        """Forget a trial whose attempt is over."""
        self.watchdog.ended(name)
        self.running.pop(name, None)

    def stall_line(self, stall: Stall) -> str:
        """What is logged of a trial that stands still."""
        trial = self.running[stall.trial]
        begun, others = ("it", "trials") if self.folds == 1 else ("its fold", "folds")
        since = f"{begun} was started" if stall.starting else f"epoch {stall.epoch} ended"
        by = f"the first epochs of other {others}" if stall.starting else "its earlier epochs"
        where = self.processes.get(stall.trial, "its process")
        epochs = self.folds * self.settings(stall.trial).schedule.epochs
        return (
            f"{stall.trial} ({described(trial.point)}) stands still in epoch {stall.epoch + 1} of "
            f"{epochs}: {duration(stall.silent_s)} since {since}, where at most "
            f"{duration(stall.expected_s)} were expected by {by}; look at {where}, and at what "
            f"reads for it: ray list tasks --filter state=RUNNING"
        )

    def next_epoch(self, name: str, settings: TrainSettings) -> tuple[int, int]:
        """A running trial's time when its next epoch begins, and that epoch within its fold."""
        fold, epoch = next_epoch(self.running[name].history, settings.schedule, self.folds)
        return fold * settings.schedule.epochs + epoch - 1, epoch

    def settings(self, name: str) -> TrainSettings:
        """The settings of a running trial."""
        return self.queue.store.settings(self.queue.settings.train, self.running[name])

    def draw(self, live: Live) -> None:
        """Draw the table."""
        records = [self.running.get(name, one) for name, one in self.queue.records.items()]
        forecast = self.queue.forecast.remaining(records)
        table = live_table(
            records,
            running=self.running,
            standing_still=self.watchdog.standing_still,
            criterion=self.queue.settings.train.criterion,
            epochs=self.queue.settings.train.schedule.epochs,
            folds=self.folds,
            trials=self.queue.settings.search.trials,
            forecast="" if forecast is None else f"left: {forecast}",
            height=live.console.size.height,
        )
        live.update(table, refresh=True)


def work_of(settings: TrainSettings, epoch: int) -> float:
    """What an epoch (from 1) has to do, in passes of each network over its own domain.

    A loss that compares the networks may need each of them on both domains.
    """
    return float(sum(1 + (one.balance > 0) for one in epoch_passes(settings, epoch - 1)))
