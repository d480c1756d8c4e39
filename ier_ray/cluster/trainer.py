"""Joint training under Ray Train: launch, storage, resume, and the exported best checkpoint."""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray.train
from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from ier_ray import storage
from ier_ray.cluster.connection import DATA_CPUS, Demand, quiet_data, require
from ier_ray.cluster.failures import fit
from ier_ray.cluster.streams import read_on_cluster, reader_for, tasks_ahead
from ier_ray.cluster.worker import RayTrainContext, location_of
from ier_ray.data.captions import require_captions
from ier_ray.data.schema import require_scheme
from ier_ray.data.shards import ShardSet
from ier_ray.data.streams import JointStreams, SplitIndex
from ier_ray.errors import DeviceMemoryError, SettingsError, TrainingError
from ier_ray.models.captions import transformers
from ier_ray.training.checkpoint import export_checkpoint, read_checkpoint_manifest
from ier_ray.training.loop import train
from ier_ray.training.progress import Progress
from ier_ray.training.settings import TrainSettings
from ier_ray.training.tracking import log_epochs, require_tracking, tracked

logger = logging.getLogger(__name__)

BEST_BY = "ier_accuracy"
START_RETRIES = 1
"""Times a worker group that did not start is tried again before the run is given up."""
START_TIMEOUT = ("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "900")
"""How long workers may take to start: an autoscaler needs minutes to bring GPU nodes."""
GROWING = ("schedule", "scaling", "tracking")
"""Settings that may change when a run is resumed."""


@dataclass(frozen=True)
class TrainResult:
    """Outcome of a run."""

    run: str
    """Directory of the run."""
    checkpoint: str
    """The best epoch's checkpoint, by validation accuracy of the IER network, for serving."""
    last_checkpoint: str
    """The last epoch's checkpoint, with what resuming needs."""
    metrics: dict[str, float]
    """Validation metrics of the best epoch."""
    best_epoch: int
    epochs: int
    steps: int
    history: list[dict[str, Any]]
    """One record an epoch."""
    seconds: float


def run_training(settings: TrainSettings) -> TrainResult:
    """Train on the cluster; with the name and settings of an earlier run, go on with it.

    Raises:
        SettingsError: when the run exists with other settings, or MLflow cannot be used.
        DataError: when shards are missing or the two domains' schemes differ.
        CapacityError: when the cluster can never fit the workers.
        TrainingError: when the loss is not finite or failures outlast the retries.
    """
    started = time.perf_counter()
    settings = settings.located()
    check_data(settings)
    check_capacity(settings)
    require_tracking(settings.tracking)
    run = storage.join(settings.storage, settings.name)
    resumed = claim_settings(
        storage.join(run, "settings.json"),
        settings.model_dump(mode="json"),
        what=f"run {settings.name!r}",
    )
    result = train_tracked(settings, resumed=resumed)
    progress = outcome(result)
    best, metrics = best_checkpoint(result)
    exported = export_checkpoint(best, storage.join(run, "best"))
    storage.write_json(storage.join(run, "history.json"), progress.history)
    return TrainResult(
        run=run,
        checkpoint=exported,
        last_checkpoint=location_of(result.checkpoint),
        metrics=read_checkpoint_manifest(exported).metrics,
        best_epoch=int(metrics["epoch"]),
        epochs=progress.epoch,
        steps=progress.step,
        history=progress.history,
        seconds=time.perf_counter() - started,
    )


def train_tracked(
    settings: TrainSettings, *, resumed: bool, callbacks: list[Any] | None = None
) -> ray.train.Result:
    """Run Ray Train to its end, shown in MLflow where that is asked for.

    Raises:
        TrainingError: when it ends in one.
    """
    run = storage.join(settings.storage, settings.name)
    with tracked(settings, run, resumed=resumed) as mlflow_run:
        result = fit(make_trainer(settings, callbacks, mlflow_run))
        log_epochs(settings.tracking, mlflow_run, outcome(result).history)
    return result


def make_trainer(
    settings: TrainSettings, callbacks: list[Any] | None = None, mlflow_run: str | None = None
) -> TorchTrainer:
    """The Ray Train trainer of a run; its epochs are logged to an MLflow run, if it has one."""
    os.environ.setdefault(*START_TIMEOUT)  # Ray Train reads it from the environment alone
    scaling = settings.scaling
    fs, path = storage.filesystem(settings.storage)
    return TorchTrainer(
        train_worker,
        train_loop_config={
            "settings": settings.model_dump(mode="json"),
            "terminal": sys.stderr.isatty(),
            "mlflow_run": mlflow_run,
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
        ),
        run_config=RunConfig(
            name=settings.name,
            storage_path=path,
            storage_filesystem=fs,
            failure_config=FailureConfig(
                max_failures=scaling.max_failures, controller_failure_limit=START_RETRIES
            ),
            # Ray also keeps the newest, whatever its score.
            checkpoint_config=CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=BEST_BY, checkpoint_score_order="max"
            ),
            callbacks=callbacks,
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )


def train_worker(config: dict[str, Any]) -> Progress | TrainingError:
    """What each rank runs. An error that every rank meets is returned: a retry would not help."""
    logging.getLogger().setLevel(logging.WARNING)  # Ray logs every report through the root
    logging.getLogger("ier_ray").setLevel(logging.INFO)
    quiet_data()
    settings = TrainSettings.model_validate(config["settings"])
    run = storage.join(settings.storage, settings.name)
    context = RayTrainContext(
        run,
        terminal=config["terminal"],
        track=partial(log_epochs, settings.tracking, config["mlflow_run"]),
    )
    streams = open_streams(settings, rank=context.rank, world_size=context.world_size)
    try:
        return train(settings, streams, streams.ier.shards.scheme, context)
    except TrainingError as error:
        if isinstance(error, DeviceMemoryError) and context.world_size > 1:
            raise  # the other workers wait for this one: only Ray can end them
        return error


def open_streams(settings: TrainSettings, *, rank: int, world_size: int) -> JointStreams:
    """One rank's batches, read and decoded by Ray tasks."""
    scaling = settings.scaling
    ahead = tasks_ahead(streams=2 * world_size, busy_cpus=world_size * scaling.cpus_per_worker)
    splits = {
        domain: SplitIndex.read(ShardSet.open(location), val_fold=settings.data.val_fold)
        for domain, location in (("fer", settings.data.fer), ("ier", settings.data.ier))
    }
    if settings.data.mix > 0:
        splits["fer"] = splits["fer"].mixed_with(
            splits["ier"], fraction=settings.data.mix, seed=settings.seed
        )
    return JointStreams(
        **splits,
        image_size=settings.model.image_size,
        batch_size=settings.optimizer.batch_size,
        seed=settings.seed,
        balance=settings.data.balance,
        window=settings.data.shuffle_window,
        rank=rank,
        world_size=world_size,
        execute=partial(read_on_cluster, ahead=ahead),
        reader=reader_for(settings.model),
    )


def check_data(settings: TrainSettings) -> None:
    """Raise where shards are missing, lack captions, or do not belong together."""
    fer, ier = ShardSet.open(settings.data.fer), ShardSet.open(settings.data.ier)
    require_scheme(fer.manifest, ier.scheme, settings.data.fer)
    for shards, domain in ((fer, "fer"), (ier, "ier")):
        if shards.manifest.domain != domain:
            raise SettingsError(
                f"data.{domain} is {shards.location}, a shard set of domain "
                f"{shards.manifest.domain!r}; give one of domain {domain!r}"
            )
    if settings.model.reads_captions:
        transformers()  # missing here, it is missing on the workers
        require_captions(fer, ier)


def check_capacity(settings: TrainSettings, *, driver_cpus: float = 0.0) -> None:
    """Raise where the workers, their driver, and one CPU to read data can never fit."""
    scaling = settings.scaling
    workers = scaling.fewest_workers * scaling.cpus_per_worker
    gpus = float(scaling.fewest_workers) if scaling.use_gpu else 0.0
    require(
        Demand(cpus=workers + driver_cpus + DATA_CPUS, gpus=gpus),
        what=f"training with {scaling.fewest_workers} workers of {scaling.cpus_per_worker:g} CPUs "
        f"and {DATA_CPUS:g} CPU to read data",
        cure="lower scaling.num_workers or scaling.cpus_per_worker",
    )


def claim_settings(location: str, asked: dict[str, Any], *, what: str) -> bool:
    """Record the settings of a run, or check them against the record of the run it continues.

    Returns:
        Whether there is a run that it continues.

    Raises:
        SettingsError: naming what differs.
    """
    if storage.create_json(location, asked):
        return False
    recorded = storage.read_json(location)
    changed = [
        f"{name} was {recorded.get(name)}, is {value}"
        for name, value in asked.items()
        if name not in GROWING and value != recorded.get(name)
    ]
    if changed:
        raise SettingsError(
            f"{what} exists with other settings ({location}): {'; '.join(changed)}. "
            f"Give another --name, or remove it"
        )
    logger.info("%s exists: going on from where it stopped", what)
    storage.write_json(location, asked)
    return True


def outcome(result: ray.train.Result) -> Progress:
    """What rank 0 returned.

    Raises:
        TrainingError: when that is one.
    """
    if isinstance(result.return_value, TrainingError):
        raise result.return_value
    progress: Progress = result.return_value
    return progress


def best_checkpoint(result: ray.train.Result) -> tuple[str, dict[str, Any]]:
    """Location and metrics of the earliest epoch with the best score."""
    checkpoint, metrics = max(
        result.best_checkpoints, key=lambda pair: (pair[1][BEST_BY], -pair[1]["epoch"])
    )
    return location_of(checkpoint), metrics
