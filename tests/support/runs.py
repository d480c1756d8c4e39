"""Settings of tiny training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ier_ray.training.settings import TrainSettings

ROOT = Path(__file__).parents[2]
SIZE = 32
SAMPLES = 160


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
