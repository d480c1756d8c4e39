"""Manifests of checkpoints that no run made."""

from __future__ import annotations

from typing import Any

from ier_ray.emotions import FOUR
from ier_ray.models.registry import ModelSettings
from ier_ray.training.checkpoint import CheckpointManifest


def manifest_of(model: ModelSettings, **changes: Any) -> CheckpointManifest:
    """The manifest of a checkpoint of the scheme four, trained on no recorded data."""
    values: dict[str, Any] = {
        "model": model,
        "scheme": FOUR.name,
        "classes": list(FOUR.classes),
        "normalization": "per_image",
        "epoch": 1,
        "step": 1,
        "metrics": {},
        "seed": 0,
        "criterion": "last",
        "score": 1.0,
        "data": {},
    }
    return CheckpointManifest(**values | changes)
