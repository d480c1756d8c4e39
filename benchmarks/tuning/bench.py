"""The methods compared by the benchmark of fine-tuning, and the data that they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reading import Held

from ier_ray.config import parse_settings, read_settings_file
from ier_ray.data.parts import SplitPlan
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.schema import Domain
from ier_ray.data.shards import RowIndex, ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.training.settings import TrainSettings

RECIPE = Path(__file__).parents[2] / "configs" / "finetune.yaml"
TUNED = read_settings_file(str(RECIPE))
PROBES = {"probe": False, "probe_flip": True}
JOINT: dict[str, Any] = {"optimizer": {"precision": "bfloat16"}, "schedule": {"warmup_epochs": 1}}
ALONE: dict[str, Any] = {
    "loss": {"balance": 0.0},
    "optimizer": {"trunk_factor": 0.0},
    "schedule": {"networks": "ier", "warmup_epochs": 0, "epochs": TUNED["schedule"]["epochs"]},
}
RUNS: dict[str, dict[str, Any]] = {
    "beta_0": {**JOINT, "loss": {"balance": 0.0}},
    "beta_1": {**JOINT, "loss": {"balance": 1.0}},
    "frozen": ALONE,
    "recipe": TUNED,
}
"""Settings of each run that are not common to all; the others have their defaults."""
METHODS = (*PROBES, *RUNS)


@dataclass(frozen=True)
class Bench:
    """The data and what all methods have in common."""

    shards: dict[Domain, ShardSet]
    held: dict[Domain, Held]
    size: int
    width: float
    pretrained: str | None
    epochs: int | None
    """Of runs that train a trunk, or of all runs in the quick mode; None: as the recipe."""
    quick: bool

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.size, "imagenet")

    def settings(self, method: str, fold: int, storage: str) -> TrainSettings:
        values: dict[str, Any] = {
            name: dict(v) if isinstance(v, dict) else v for name, v in RUNS[method].items()
        }
        alone = values.get("schedule", {}).get("networks") == "ier"
        common: dict[str, dict[str, Any]] = {
            "data": {
                "fer": None if alone else self.shards["fer"].location,
                "ier": self.shards["ier"].location,
                "test_fold": fold,
                "normalization": "imagenet",
            },
            "model": {"image_size": self.size, "width": self.width},
            "schedule": {"pretrained": self.pretrained},
        }
        if self.epochs is not None and (self.quick or method in ("beta_0", "beta_1")):
            common["schedule"]["epochs"] = self.epochs
        for section, changes in common.items():
            values[section] = {**values.get(section, {}), **changes}
        values |= {"seed": fold, "storage": storage}
        return parse_settings(TrainSettings, values, source=method)

    def split(self, domain: Domain, fold: int) -> SplitIndex:
        return SplitIndex.read(self.shards[domain], SplitPlan(test_fold=fold))

    def pixels(self, rows: RowIndex) -> NDArray[np.uint8]:
        images: NDArray[np.uint8] = self.held["ier"].select(rows.positions)["image"]
        return images
