"""Optimizer steps of a small joint model on random images."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor

from ier_ray.losses import DiscrepancyMode, JointLoss
from ier_ray.models import ModelSettings, build_joint_model
from ier_ray.training.settings import OptimizerSettings
from ier_ray.training.step import DeviceBatch, Trainee, optimizer_step

RANKS = 2


def trainee(mode: DiscrepancyMode = "same_image", **settings: object) -> Trainee:
    torch.manual_seed(0)
    model = build_joint_model(ModelSettings(image_size=32, width=0.05), num_classes=4)
    if mode == "dann":
        model.add_discriminator()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Trainee(model, model, optimizer, OptimizerSettings.model_validate(settings))


def batches(count: int, size: int) -> list[DeviceBatch]:
    generator = torch.Generator().manual_seed(1)

    def images() -> Tensor:
        return torch.randn(count * size, 3, 32, 32, generator=generator)

    def labels() -> Tensor:
        return torch.randint(4, (count * size,), generator=generator)

    parts = [images(), labels(), images(), labels()]
    return [DeviceBatch(*rows) for rows in zip(*(part.split(size) for part in parts), strict=True)]


def descending(mode: DiscrepancyMode) -> Trainee:
    """Plain descent in float64.

    Adam would blow rounding errors of small gradients up to whole steps; in float32 one in a
    dozen runs had a ReLU or a maximum tip over.
    """
    trained = trainee(mode)
    trained.model.double()
    return replace(trained, optimizer=torch.optim.SGD(trained.model.parameters(), lr=0.05))


def double_batches(count: int, size: int) -> list[DeviceBatch]:
    return [
        batch._replace(fer_images=batch.fer_images.double(), ier_images=batch.ier_images.double())
        for batch in batches(count, size)
    ]


def weights_after(
    trained: Trainee, loss: JointLoss, data: list[DeviceBatch], accumulate: int
) -> dict[str, Tensor]:
    for start in range(0, len(data), accumulate):
        optimizer_step(trained, loss, data[start : start + accumulate], count=accumulate)
    return {name: p.detach().clone() for name, p in trained.model.named_parameters()}
