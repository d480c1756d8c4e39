"""Normalization of pixels, on their device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Normalization = Literal["per_image", "imagenet"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MIN_STD = 1e-3
"""Lower bound of the standard deviation of [0, 1] pixels: a flat image becomes zeros."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation to normalize with; broadcastable to ``(N, C, H, W)``."""

    mean: Tensor
    std: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """Normalize ``(N, C, H, W)`` images in [0, 1]."""
        return (images - self.mean) / self.std


def to_unit_range(pixels: Tensor) -> Tensor:
    """uint8 ``(N, H, W, 3)`` to float ``(N, 3, H, W)`` in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).float().div_(255.0)


def statistics(images: Tensor, normalization: Normalization) -> Statistics:
    """Statistics of ``(N, 3, H, W)`` images in [0, 1].

    ``per_image``: zero mean and unit variance over each image (paper section 3.3).
    ``imagenet``: the fixed values that networks with ImageNet weights were trained with.
    """
    if normalization == "per_image":
        std, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True, correction=0)
        return Statistics(mean, std.clamp_min(MIN_STD))
    constants = (IMAGENET_MEAN, IMAGENET_STD)
    mean, std = (
        torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in constants
    )
    return Statistics(mean, std)
