"""Joint training under Ray Train: launch, storage, resume, and the exported best checkpoint."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import ray.train
from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from ier_ray import storage
from ier_ray.cluster.connection import connect, named_cluster
from ier_ray.cluster.evaluation import predict_held_out, tested
from ier_ray.cluster.failures import FailureNotice, fit
from ier_ray.cluster.preflight import check_cluster, footprint_of_run
from ier_ray.cluster.runs import (
    BEST_BY,
    best_checkpoint,
    check_run,
    claim_settings,
    outcome,
)
from ier_ray.cluster.worker import checkpoint_location, train_worker
from ier_ray.data.schema import Domain
from ier_ray.evaluation.summary import Evaluation
from ier_ray.training.checkpoint import export_checkpoint, read_checkpoint_manifest
from ier_ray.training.run_files import BEST, HISTORY, PREDICTIONS, SETTINGS
from ier_ray.training.settings import TrainSettings
from ier_ray.training.tracking import log_epochs, tracked
from ier_ray.tuning.trial_log import TrialLog

START_RETRIES = 1
"""Times that starting the worker group is retried before the run fails."""
START_TIMEOUT = ("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "900")
"""Seconds that workers may take to start: an autoscaler needs minutes to start GPU nodes."""


@dataclass(frozen=True)
class TrainResult:
    """Outcome of a run."""

    run: str
    """Directory of the run."""
    checkpoint: str
    """The best epoch's checkpoint, by ``schedule.criterion``, for serving."""
    last_checkpoint: str
    """The last epoch's checkpoint, with what resuming needs."""
    metrics: dict[str, float]
    """Validation metrics of the best epoch, which they selected: no result."""
    test: dict[Domain, Evaluation]
    """Metrics of the best epoch on each domain's test part, which selected nothing."""
    predictions: str
    """File of the best epoch's predictions on the validation and test parts."""
    best_epoch: int
    epochs: int
    steps: int
    history: list[dict[str, Any]]
    """One record per epoch."""
    seconds: float


def run_training(settings: TrainSettings) -> TrainResult:
    """Train on the cluster; with the name and settings of an earlier run, resume it.

    Raises:
        SettingsError: when the run exists with other settings.
        IerRayError: as :func:`~ier_ray.cluster.runs.check_run`, before a cluster is joined.
        CapacityError, StorageError, ClusterError: as
            :func:`~ier_ray.cluster.preflight.check_cluster`, before anything is started.
        TrainingError: when the loss is not finite or failures outlast the retries.
    """
    started = time.perf_counter()
    settings = settings.located()
    check_run(settings)
    connect()
    run = storage.join(settings.storage, settings.name)
    check_cluster(settings, run, footprint_of_run(settings))
    resumed = claim_settings(
        storage.join(run, SETTINGS),
        settings.model_dump(mode="json"),
        what=f"run {settings.name!r}",
    )
    result = train_tracked(settings, resumed=resumed)
    progress = outcome(result)
    best, metrics = best_checkpoint(result)
    exported = export_checkpoint(best, storage.join(run, BEST))
    storage.write_json(storage.join(run, HISTORY), progress.history)
    predictions = predict_held_out(exported, settings)
    predictions.write(storage.join(run, PREDICTIONS))
    return TrainResult(
        run=run,
        checkpoint=exported,
        last_checkpoint=checkpoint_location(result.checkpoint),
        metrics=read_checkpoint_manifest(exported).metrics,
        test=tested(predictions),
        predictions=storage.join(run, PREDICTIONS),
        best_epoch=int(metrics["epoch"]),
        epochs=progress.epoch,
        steps=progress.step,
        history=progress.history,
        seconds=time.perf_counter() - started,
    )


def train_tracked(
    settings: TrainSettings, *, resumed: bool, trial: TrialLog | None = None
) -> ray.train.Result:
    """Run Ray Train to its end, tracked in MLflow if that is configured.

    Args:
        trial: the trial of a sweep that the run is, or is a fold of.

    Raises:
        TrainingError: when the run ends with one.
    """
    run = storage.join(settings.storage, settings.name)
    name = trial.run_name if trial else None
    with tracked(settings, run, resumed=resumed, name=name) as mlflow_run, named_cluster():
        result = fit(make_trainer(settings, mlflow_run, trial))
        log_epochs(settings.tracking, mlflow_run, outcome(result).history)
    return result


def make_trainer(
    settings: TrainSettings, mlflow_run: str | None = None, trial: TrialLog | None = None
) -> TorchTrainer:
    """The Ray Train trainer of a run; its epochs are logged to an MLflow run, if it has one."""
    os.environ.setdefault(*START_TIMEOUT)  # Ray Train reads it only from the environment
    scaling = settings.scaling
    fs, path = storage.filesystem(settings.storage)
    return TorchTrainer(
        train_worker,
        train_loop_config={
            "settings": settings.model_dump(mode="json"),
            "terminal": sys.stderr.isatty(),
            "mlflow_run": mlflow_run,
            "trial": trial,
        },
        torch_config=TorchConfig(backend="nccl" if scaling.use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=(
                (scaling.min_workers, scaling.num_workers)
                if scaling.min_workers
                else scaling.num_workers
            ),
            use_gpu=scaling.use_gpu,
            resources_per_worker={
                "CPU": scaling.cpus_per_worker,
                **({"GPU": 1} if scaling.use_gpu else {}),
            },
            accelerator_type=scaling.accelerator_type,
            label_selector=scaling.labels or None,
        ),
        run_config=RunConfig(
            name=settings.name,
            storage_path=path,
            storage_filesystem=fs,
            failure_config=FailureConfig(
                max_failures=scaling.max_failures, controller_failure_limit=START_RETRIES
            ),
            # Ray also keeps the newest checkpoint, whatever its score.
            checkpoint_config=CheckpointConfig(
                num_to_keep=1,
                checkpoint_score_attribute=BEST_BY,
                checkpoint_score_order="max",
            ),
            callbacks=[FailureNotice()],
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
