"""What a user of Ray Tune writes by hand: a function that trains, and reports with a checkpoint.

It calls the same training loop on the same streams. A trial of several workers runs a Ray Train
trainer inside of Tune's function, as Ray documents it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray.train
from ray import tune
from ray.train.torch import TorchConfig, TorchTrainer

from ier_ray import storage
from ier_ray.cluster.connection import quiet_data
from ier_ray.cluster.streams import open_streams
from ier_ray.cluster.worker import RayTrainContext
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.settings import SweepSettings
from ier_ray.tuning.space import with_values

NEWEST = tune.CheckpointConfig(num_to_keep=1)


class TuneContext(LocalContext):
    """One process, whose epochs are reported to Tune with their checkpoints."""

    def report(self, metrics: dict[str, Any], directory: Path | None) -> None:
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(str(directory)))


def make_tuner(sweep: SweepSettings, points: list[dict[str, Any]]) -> tune.Tuner:
    """A tuner that trains with each of some settings, as many at once as the sweep says."""
    several = sweep.train.scaling.num_workers > 1
    fs, path = storage.filesystem(sweep.storage)
    base = sweep.train.model_dump(mode="json")

    def trial(config: dict[str, Any]) -> None:
        settings = with_values(TrainSettings.model_validate(base), config["point"])
        (train_nested if several else train_here)(settings)

    return tune.Tuner(
        tune.with_resources(
            trial, {"cpu": 0.01 if several else sweep.train.scaling.cpus_per_worker}
        ),
        param_space={"point": tune.grid_search(points)},
        tune_config=tune.TuneConfig(max_concurrent_trials=sweep.search.max_concurrent),
        run_config=tune.RunConfig(
            name="bare",
            storage_path=path,
            storage_filesystem=fs,
            checkpoint_config=NEWEST,
            verbose=0,
        ),
    )


def train_here(settings: TrainSettings) -> None:
    """Train in Tune's process."""
    quiet_data()
    streams = open_streams(settings, rank=0, world_size=1)
    train(settings, streams, streams.scheme, TuneContext(Path.cwd()))


def train_nested(settings: TrainSettings) -> None:
    """Train by Ray Train, and report its last epoch."""
    fs, path = storage.filesystem(f"{settings.storage}/bare-nested")
    trainer = TorchTrainer(
        work,
        train_loop_config={"settings": settings.model_dump(mode="json")},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.scaling.num_workers,
            resources_per_worker={"CPU": settings.scaling.cpus_per_worker},
        ),
        run_config=ray.train.RunConfig(
            name=tune.get_context().get_trial_id(),
            storage_path=path,
            storage_filesystem=fs,
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        ),
    )
    tune.report(trainer.fit().metrics)


def work(config: dict[str, Any]) -> None:
    """What each worker of a nested run does."""
    quiet_data()
    settings = TrainSettings.model_validate(config["settings"])
    context = RayTrainContext(settings.storage, terminal=False)
    streams = open_streams(settings, rank=context.rank, world_size=context.world_size)
    train(settings, streams, streams.scheme, context)
