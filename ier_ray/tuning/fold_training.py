"""Trains a trial: once for each of its folds, from where an earlier attempt has left it.

A trial ends by itself, at its last epoch or when its scheduler says so, and records how. An error
that it would meet again is recorded, too; any other is raised, and the trial is started again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ier_ray import storage
from ier_ray.errors import ClusterError, IerRayError, LostWorkersError, StorageError
from ier_ray.training.checkpoint import export_checkpoint
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import RunProgress
from ier_ray.tuning.trial_log import TrialLog
from ier_ray.tuning.trials import finish_fold, is_finished

MAY_PASS = (StorageError, ClusterError, LostWorkersError)
"""Errors that another attempt may not meet."""

Train = Callable[[TrainSettings, TrialLog], tuple[RunProgress, str]]
"""Trains a run, or continues it; returns its progress and its best epoch's checkpoint."""


def train_folds(runs: Sequence[TrainSettings], log: TrialLog, train: Train) -> None:
    """Train the folds of a trial one after the other, until the last or the scheduler ends it.

    The weights that are kept are those of the first fold's best epoch.

    Args:
        runs: one for each fold; the only one is the trial itself.
        log: the trial's.
    """
    for fold, settings in enumerate(runs):
        run = storage.join(settings.storage, settings.name)
        if is_finished(run):
            continue
        if len(runs) > 1:
            log = replace(log.reopened(), fold=fold, start=fold * settings.schedule.epochs)
        if log.should_not_begin():
            log.end([], complete=False)
            return
        try:
            progress, best = train(settings, log)
        except MAY_PASS:
            raise
        except IerRayError as error:
            log.fail(str(error))
            return
        if fold == 0:
            export_checkpoint(best, log.store.weights(log.record.name))
        complete = progress.is_complete(settings.schedule)
        if not complete or settings is runs[-1]:
            log.end(progress.history, complete=complete)
            return
        finish_fold(run)
