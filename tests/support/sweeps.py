"""Tiny sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ier_ray.tuning.settings import SweepSettings
from support.runs import tiny_settings

SPACE = {"loss.balance": {"low": 0.0, "high": 2.0}, "optimizer.batch_size": [8, 16]}


def sweep(
    shards: dict[str, str], directory: Path, train: dict[str, Any] | None = None, **search: Any
) -> SweepSettings:
    """Three trials of one worker, one at a time, of three epochs; changes of base and search."""
    common: dict[str, Any] = {
        "schedule__epochs": 3,
        "scaling": {"num_workers": 1, "cpus_per_worker": 1.0},
    }
    base = tiny_settings(shards, directory, **common | (train or {}))
    asked = {"space": SPACE, "trials": 3, "grace_epochs": 1, "max_concurrent": 1} | search
    return SweepSettings.model_validate(
        {
            "name": "small",
            "storage": str(directory),
            "search": asked,
            "train": base.model_dump(mode="json"),
        }
    )


def trial_files(directory: Path) -> dict[str, tuple[int, set[str]]]:
    """When each trial of a sweep last changed its record, and what else it has kept."""
    return {
        record.parent.name: (
            record.stat().st_mtime_ns,
            {path.name for path in record.parent.iterdir()} - {"trial.json", "tensorboard"},
        )
        for record in sorted(directory.glob("small/trials/*/trial.json"))
    }
