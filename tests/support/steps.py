"""Optimizer steps of a small joint model on random images."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ier_ray.losses import DISCREPANCIES, DiscrepancyMode, JointLoss, LossParts
from ier_ray.models import ModelSettings, build_joint_model
from ier_ray.training.sections import OptimizerSettings
from ier_ray.training.state import RunProgress, TrainState
from ier_ray.training.step import DeviceBatch, optimizer_step

RANKS = 2


def train_state(mode: DiscrepancyMode = "same_image") -> TrainState:
    torch.manual_seed(0)
    model = build_joint_model(ModelSettings(image_size=32, width=0.05), num_classes=4)
    if DISCREPANCIES[mode].needs_discriminator:
        model.add_discriminator()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return TrainState(model, model, optimizer, RunProgress(0, 0, []))


def take_step(
    state: TrainState, loss: JointLoss, steps: list[DeviceBatch], **settings: object
) -> list[LossParts]:
    chosen = OptimizerSettings.model_validate(settings)
    return optimizer_step(state, loss, steps, chosen, count=len(steps))


def batches(count: int, size: int) -> list[DeviceBatch]:
    generator = torch.Generator().manual_seed(1)

    def images() -> Tensor:
        return torch.randn(count * size, 3, 32, 32, generator=generator)

    def labels() -> Tensor:
        return torch.randint(4, (count * size,), generator=generator)

    parts = [images(), labels(), images(), labels()]
    return [DeviceBatch(*rows) for rows in zip(*(part.split(size) for part in parts), strict=True)]


def descending(mode: DiscrepancyMode) -> TrainState:
    """Plain descent in float64.

    Adam would blow rounding errors of small gradients up to whole steps; in float32 one in a
    dozen runs had a ReLU or a maximum tip over.
    """
    trained = train_state(mode)
    trained.model.double()
    return replace(trained, optimizer=torch.optim.SGD(trained.model.parameters(), lr=0.05))


def double_batches(count: int, size: int) -> list[DeviceBatch]:
    return [
        batch._replace(fer_images=batch.fer_images.double(), ier_images=batch.ier_images.double())
        for batch in batches(count, size)
    ]


def weights_after(
    trained: TrainState, loss: JointLoss, data: list[DeviceBatch], accumulate: int
) -> dict[str, Tensor]:
    for start in range(0, len(data), accumulate):
        take_step(trained, loss, data[start : start + accumulate])
    return {name: p.detach().clone() for name, p in trained.model.named_parameters()}
