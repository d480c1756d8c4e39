"""Tiny training runs: settings, streams and the loop in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ier_ray.data.parts import SplitPlan
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.emotions import FOUR
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.settings import TrainSettings

ROOT = Path(__file__).parents[2]
SIZE = 32
SAMPLES = 160
EPOCHS, STEPS = 5, 5 * 6
"""Of a run that others are compared with: 96 balanced rows, two workers of 8."""


def tiny_settings(shards: dict[str, str], storage: Path | str, **changes: Any) -> TrainSettings:
    """Two workers, two epochs, a network of a few thousand weights; dotted changes."""
    values: dict[str, Any] = {
        "name": "run",
        "storage": str(storage),
        "seed": 1,
        "data": dict(shards),
        "model": {"image_size": SIZE, "width": 0.02},
        "optimizer": {"learning_rate": 1e-3, "batch_size": 8},
        "schedule": {"epochs": 2, "warmup_epochs": 1},
        "scaling": {"num_workers": 2, "cpus_per_worker": 1.0},
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if key:
            values[section][key] = value
        else:
            values[section] = value
    return TrainSettings.model_validate(values)


def local_streams(
    shards: dict[str, str],
    *,
    plan: SplitPlan | None = None,
    batch_size: int = 16,
    rank: int = 0,
    world_size: int = 1,
) -> JointStreams:
    plan = plan or SplitPlan()
    fer, ier = (SplitIndex.read(ShardSet.open(shards[domain]), plan) for domain in ("fer", "ier"))
    return JointStreams(
        fer,
        ier,
        Preprocessing(SIZE),
        batch_size=batch_size,
        seed=1,
        rank=rank,
        world_size=world_size,
    )


def run(settings: TrainSettings, shards: dict[str, str], directory: Path) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    plan = settings.split_plan("ier")
    streams = local_streams(shards, plan=plan, batch_size=settings.optimizer.batch_size)
    return train(settings, streams, FOUR, LocalContext(directory)).history
