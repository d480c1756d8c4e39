"""Checkpoints that no run made, and their manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ier_ray.data.provenance import SeenRows
from ier_ray.emotions import FOUR
from ier_ray.models import build_joint_model
from ier_ray.models.registry import ModelSettings
from ier_ray.training.checkpoint import CheckpointManifest, save_checkpoint


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


def save_tiny(directory: Path) -> str:
    """Save untrained networks for images of 32 pixels; returns the location."""
    settings = ModelSettings(image_size=32, width=0.02)
    networks = build_joint_model(settings, num_classes=len(FOUR.classes))
    save_checkpoint(directory, networks, manifest_of(settings), {}, SeenRows.none())
    return str(directory)
