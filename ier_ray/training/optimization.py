"""What a step changes: trainable parameters, their optimizer and average, and its precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ier_ray.errors import SettingsError
from ier_ray.models.joint import JointModel
from ier_ray.training.sections import OptimizerSettings

FUSED_DEVICES = ("cuda", "cpu")
"""Devices on which one fused kernel updates all weights."""


def make_optimizer(
    model: JointModel, settings: OptimizerSettings, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW for the trainable parameters; with weight decay 0 it is Adam."""
    return torch.optim.AdamW(
        list(parameter_groups(model, settings)),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=device.type in FUSED_DEVICES,
    )


def parameter_groups(model: JointModel, settings: OptimizerSettings) -> Iterator[dict[str, Any]]:
    """Trainable parameters of equal learning rate and weight decay; one group by default.

    Biases and the weights of normalization layers, which have one dimension, do not decay.
    """
    trunk = {
        id(parameter)
        for network in model.networks.values()
        for parameter in network.pretrained_parameters()
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        factor = settings.trunk_factor if id(parameter) in trunk else 1.0
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        if parameter.requires_grad:
            groups.setdefault((factor, decay), []).append(parameter)
    for (factor, decay), parameters in groups.items():
        yield {"params": parameters, "rate_factor": factor, "weight_decay": decay}


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step; the trunk's is multiplied by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]


def freeze_trunks(model: JointModel) -> None:
    """Exclude from training all parameters that pretrained weights fill."""
    for network in model.networks.values():
        for parameter in network.pretrained_parameters():
            parameter.requires_grad_(False)


def freeze_first_layers(model: JointModel, count: int) -> None:
    """Exclude the first ``count`` layers of each network's trunk from training.

    A layer is a module with weights of its own, among them normalization layers.

    Raises:
        SettingsError: when the trunk has no further layer.
    """
    for network in model.networks.values():
        filled = {id(parameter) for parameter in network.pretrained_parameters()}
        own = (list(module.parameters(recurse=False)) for module in network.modules())
        layers = [weights for weights in own if any(id(weight) in filled for weight in weights)]
        if count >= len(layers):
            raise SettingsError(
                f"optimizer.frozen_layers is {count}, but the trunk has {len(layers)} layers; to "
                f"freeze all of them, set optimizer.trunk_factor 0 instead"
            )
        for weight in chain.from_iterable(layers[:count]):
            weight.requires_grad_(False)


def set_train_mode(model: nn.Module) -> None:
    """Train mode, but for frozen parts: they keep their running statistics and drop nothing."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def averaged_copy(model: JointModel, decay: float) -> AveragedModel:
    """A copy that holds the exponential moving average of the model's weights.

    Its first update copies the weights; the buffers are copied at every update.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]


def autocast(device: torch.device, settings: OptimizerSettings) -> AbstractContextManager[object]:
    """The autocast context of the settings' ``precision``."""
    half = settings.precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)
