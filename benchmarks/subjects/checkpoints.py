"""Checkpoints that no run made: networks as drawn, saved as training saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ier_ray.data.provenance import SeenRows
from ier_ray.data.schema import Domain
from ier_ray.data.synthetic import draw_scene
from ier_ray.emotions import FOUR
from ier_ray.models import ModelSettings, build_joint_model
from ier_ray.models.joint import last_dense
from ier_ray.training.checkpoint import CheckpointManifest, save_checkpoint

SPREAD = 0.25
"""Standard deviation of a class's logits over pictures."""
DOMAINS: tuple[Domain, ...] = ("fer", "ier")


def untrained_manifest(model: ModelSettings, **changes: Any) -> CheckpointManifest:
    """The manifest of networks that nothing has trained."""
    values: dict[str, Any] = {
        "model": model,
        "scheme": FOUR.name,
        "classes": list(FOUR.classes),
        "normalization": "per_image",
        "epoch": 0,
        "step": 0,
        "metrics": {},
        "seed": 0,
        "criterion": "last",
        "score": 1.0,
        "data": {},
    }
    return CheckpointManifest(**values | changes)


@torch.no_grad()
def save_untrained(
    directory: Path, model: ModelSettings, *, networks: tuple[Domain, ...] = DOMAINS
) -> str:
    """Save a checkpoint whose networks tell pictures apart; returns its location.

    As drawn, a network's probabilities are the same for all pictures to five digits, so that a
    reply to another request would pass for the right one. The last layer is therefore scaled and
    shifted until the logits are around 0 and differ by about :data:`SPREAD`; more would magnify
    rounding errors.
    """
    torch.manual_seed(0)
    manifest = untrained_manifest(model, networks=networks)
    joint = build_joint_model(model, num_classes=len(FOUR.classes), networks=networks).eval()
    scenes = [
        draw_scene(name, size=model.image_size, seed=number).image
        for number, name in enumerate(FOUR.classes)
    ]
    inputs = manifest.preprocessing.inputs(torch.from_numpy(np.stack(scenes)))
    for network in joint.networks.values():
        last = last_dense(network)
        last.weight.mul_(SPREAD / network(inputs).std(0).mean())
        last.bias.sub_(network(inputs).mean(0))
    save_checkpoint(directory, joint, manifest, {}, SeenRows.none())
    return str(directory)
