"""Which trial Ray Tune starts next, and what becomes of those that end.

Tune is never asked to resume a sweep: each start of a sweep gives it the trials that are left. It
may be interrupted at any time, since all that matters is in the trials' records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback
from ray.tune.search import Searcher

from ier_ray.cluster.failures import told
from ier_ray.cluster.sweep_forecast import SweepForecast
from ier_ray.errors import StorageError
from ier_ray.tuning.leaderboard import ended_line
from ier_ray.tuning.searchers import propose
from ier_ray.tuning.settings import SweepSettings
from ier_ray.tuning.trials import TrialRecord, TrialStore, kept

logger = logging.getLogger(__name__)


class TrialQueue(Searcher):
    """Gives Tune the unfinished trials, then new ones, as many at a time as fit.

    A trial that was lost (a node died, the memory was full) is queued again, as often as
    ``scaling.max_failures`` allows.

    Args:
        settings: the sweep.
        store: its trials.
        room: how many trials may run now; asked anew each time, as nodes come and go.
        forecast: tells what is left when a trial has ended.
    """

    def __init__(
        self,
        settings: SweepSettings,
        store: TrialStore,
        room: Callable[[], int],
        forecast: SweepForecast,
    ) -> None:
        super().__init__()
        self.forecast = forecast
        self.settings = settings
        self.space = settings.space
        self.store = store
        self.room = room
        self.records = {record.name: record for record in store.all()}
        self.waiting = [name for name, record in self.records.items() if not record.ended]
        self.names: dict[str, str] = {}
        """Names of the trials by Tune's ids, a new one for each attempt."""
        self.running: set[str] = set()
        self.losses: dict[str, int] = {}
        self.tidied: dict[str, bool] = {}
        """Ended trials whose files are in order, and whether they have weights."""
        self.tidy()

    @property
    def is_done(self) -> bool:
        """Whether no trial is left to be started."""
        return not self.waiting and len(self.records) >= self.settings.search.trials

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial; None if there is no room, or none waits."""
        if self.is_done:  # a running trial may still be lost, and wait again
            return None if self.running else Searcher.FINISHED
        if len(self.running) >= self.room():
            return None
        name = self.waiting.pop(0) if self.waiting else self.proposed().name
        self.names[trial_id] = name
        self.running.add(name)
        return {"trial": name}

    def proposed(self) -> TrialRecord:
        """A new trial, whose record is written before it starts."""
        records, search = list(self.records.values()), self.settings.search
        point = propose(self.space, search.searcher, records, seed=self.settings.train.seed)
        record = self.store.create(len(records), point)
        self.records[record.name] = record
        return record

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002
        error: bool = False,  # noqa: ARG002
    ) -> None:
        """Called by Tune when an attempt is over: the trial's record says whether the trial is."""
        name = self.names[trial_id]
        self.running.discard(name)
        record = self.records[name] = self.store.read(name)
        if record.ended:
            self.tidy()
            trials = self.settings.search.trials
            records = list(self.records.values())
            logger.info("%s", ended_line(record, records, trials))
            self.forecast.tell(record, records)
            return
        self.losses[name] = self.losses.get(name, 0) + 1
        if self.losses[name] <= self.settings.train.scaling.max_failures:
            self.waiting.insert(0, name)

    def explain_loss(self, trial_id: str, reason: str) -> None:
        """Tell the user why an attempt failed, and record it if there is no further one."""
        name = self.names[trial_id]
        record = self.records[name]
        if record.ended:
            return
        if name in self.waiting:
            logger.warning("%s was lost and is started again: %s", name, reason)
            return
        self.records[name] = record.model_copy(update={"error": reason})
        self.store.write(self.records[name])
        logger.warning(
            "%s was lost more often than train.scaling.max_failures allows: %s; it goes on when "
            "the sweep is started again",
            name,
            reason,
        )

    def tidy(self) -> None:
        """Delete ended trials' checkpoints, and the weights of all but the best."""
        best = kept(self.records.values(), self.settings.search.keep)
        for name, record in self.records.items():
            if not record.ended or self.tidied.get(name) == (name in best):
                continue
            try:
                self.store.tidy(record, keep_weights=name in best)
            except StorageError as error:
                logger.warning("%s keeps files that are not needed: %s", name, error)
            else:
                self.tidied[name] = name in best

    def save(self, checkpoint_path: str) -> None:
        """Called by Tune for its snapshots, which nothing reads."""
        Path(checkpoint_path).touch()


class Losses(Callback):
    """Tells the queue why an attempt failed."""

    def __init__(self, queue: TrialQueue) -> None:
        self.queue = queue

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Called by Tune after it has told the queue that the attempt is over."""
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        self.queue.explain_loss(trial.trial_id, told(error))


class TrialActors(RayActorManager):
    """Tune's actors. One that was killed as memory ran out is a lost trial like any other.

    Ray has an error of its own for that, which Tune does not expect: it would end the sweep.
    """

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        super()._actor_task_failed(tracked_actor_task, exception)
