"""The function that Ray Tune runs for a trial: the training loop itself, or a nested Train run.

A trial ends by itself, at its last epoch or when its scheduler says so, and records how. An error
that it would meet again is recorded, too; any other is raised, and the trial is started again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from ray import tune

from ier_ray import storage
from ier_ray.cluster.connection import quiet_data
from ier_ray.cluster.logs import show_in_job
from ier_ray.cluster.runs import best_checkpoint, outcome
from ier_ray.cluster.streams import open_streams
from ier_ray.cluster.trainer import train_tracked
from ier_ray.errors import ClusterError, IerRayError, LostWorkersError, StorageError
from ier_ray.training.checkpoint import export_checkpoint
from ier_ray.training.loop import epoch_logger, train
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import RunProgress
from ier_ray.training.tracking import log_epochs, tracked, write_scalars
from ier_ray.tuning.context import TrialContext
from ier_ray.tuning.settings import SweepSettings
from ier_ray.tuning.trials import TrialLog, TrialStore, best_epoch

MAY_PASS = (StorageError, ClusterError, LostWorkersError)
"""Errors that another attempt may not meet."""


def trial_function(settings: SweepSettings, store: TrialStore) -> Callable[[dict[str, Any]], None]:
    """The function that Tune calls with the name of a trial."""

    def run_trial(config: dict[str, Any]) -> None:
        show_in_job(config["trial"])
        epoch_logger.setLevel(logging.WARNING)  # the driver logs the trial's epochs
        quiet_data()
        log = TrialLog(store, store.read(config["trial"]), settings.halving)
        trial = store.settings(settings.train, log.record)
        alone = trial.scaling.num_workers == 1
        if log.record.history:
            tune.report(log.record.history[-1])
        try:
            progress, best = (train_here if alone else train_nested)(trial, log)
        except MAY_PASS:
            raise
        except IerRayError as error:
            log.fail(str(error))
            return
        export_checkpoint(best, store.weights(log.record.name))
        log.end(progress, complete=progress.is_complete(trial.schedule))

    return run_trial


def train_here(settings: TrainSettings, log: TrialLog) -> tuple[RunProgress, str]:
    """Run the loop in this process, which reads its data by Ray Data.

    Returns:
        The trial's progress, and the location of its best epoch's checkpoint.
    """
    run = storage.join(settings.storage, settings.name)
    device = torch.device("cuda", 0) if settings.scaling.use_gpu else torch.device("cpu")
    with tracked(settings, run, resumed=True) as mlflow_run:
        context = TrialContext(
            log,
            device,
            tell=(
                partial(write_scalars, storage.join(run, "tensorboard")),
                lambda metrics: log_epochs(settings.tracking, mlflow_run, [metrics]),
                tune.report,
            ),
        )
        streams = open_streams(settings, rank=0, world_size=1)
        progress = train(settings, streams, streams.scheme, context)
        log_epochs(settings.tracking, mlflow_run, progress.history)
    return progress, context.epoch_checkpoint(best_epoch(progress.history)["epoch"])


def train_nested(settings: TrainSettings, log: TrialLog) -> tuple[RunProgress, str]:
    """Run Ray Train with several workers; it resumes an earlier attempt of the trial."""
    result = train_tracked(settings, resumed=True, trial=log)
    progress = outcome(result)
    tune.report(progress.history[-1])
    return progress, best_checkpoint(result)[0]
