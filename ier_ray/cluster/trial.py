"""The function that Ray Tune runs for a trial: the training loop itself, or a nested Train run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from ray import tune

from ier_ray import storage
from ier_ray.cluster.connection import quiet_data
from ier_ray.cluster.folds import trial_runs
from ier_ray.cluster.logs import show_in_job
from ier_ray.cluster.runs import best_checkpoint, outcome
from ier_ray.cluster.streams import open_streams
from ier_ray.cluster.trainer import train_tracked
from ier_ray.training.loop import epoch_logger, train
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import RunProgress
from ier_ray.training.tracking import log_epochs, tracked, write_scalars
from ier_ray.tuning.context import TrialContext
from ier_ray.tuning.fold_training import train_folds
from ier_ray.tuning.history import best_epoch
from ier_ray.tuning.settings import SweepSettings
from ier_ray.tuning.trial_log import TrialLog
from ier_ray.tuning.trials import TrialStore


def trial_function(settings: SweepSettings, store: TrialStore) -> Callable[[dict[str, Any]], None]:
    """The function that Tune calls with the name of a trial."""

    def run_trial(config: dict[str, Any]) -> None:
        show_in_job(config["trial"])
        epoch_logger.setLevel(logging.WARNING)  # the driver logs the trial's epochs
        quiet_data()
        log = TrialLog(store, store.read(config["trial"]), settings.halving)
        trial = store.settings(settings.train, log.record)
        if log.record.history:
            tune.report(log.record.history[-1])
        alone = trial.scaling.num_workers == 1
        runs = trial_runs(trial, settings.search.folds)
        train_folds(runs, log, train_here if alone else train_nested)

    return run_trial


def train_here(settings: TrainSettings, log: TrialLog) -> tuple[RunProgress, str]:
    """Run the loop in this process, which reads its data by Ray Data.

    Returns:
        The run's progress, and the location of its best epoch's checkpoint.
    """
    run = storage.join(settings.storage, settings.name)
    device = torch.device("cuda", 0) if settings.scaling.use_gpu else torch.device("cpu")
    with tracked(settings, run, resumed=True, name=log.run_name) as mlflow_run:
        context = TrialContext(
            log,
            run,
            device,
            tell=(
                partial(write_scalars, storage.join(run, "tensorboard")),
                lambda metrics: log_epochs(settings.tracking, mlflow_run, [metrics]),
                lambda metrics: tune.report(log.timed(metrics)),
            ),
        )
        streams = open_streams(settings, rank=0, world_size=1)
        progress = train(settings, streams, streams.scheme, context)
        log_epochs(settings.tracking, mlflow_run, progress.history)
    return progress, context.epoch_checkpoint(best_epoch(progress.history)["epoch"])


def train_nested(settings: TrainSettings, log: TrialLog) -> tuple[RunProgress, str]:
    """Run Ray Train with several workers; it resumes an earlier attempt of the run."""
    result = train_tracked(settings, resumed=True, trial=log)
    progress = outcome(result)
    tune.report(log.timed(progress.history[-1]))
    return progress, best_checkpoint(result)[0]
