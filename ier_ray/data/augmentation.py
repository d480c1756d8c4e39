"""Random augmentation of training images, one batch at a time, on their device.

The random numbers depend on the generator's seed alone, so a run can be repeated.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from pydantic import Field
from torch import Tensor

from ier_ray.config import Settings

GRAY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


class AugmentSettings(Settings):
    """Random augmentation of training images; by default there is none."""

    flip: float = Field(0.0, ge=0, le=1)
    """Probability that an image is mirrored."""
    crop: float = Field(1.0, gt=0, le=1)
    """Smallest share of the area that a random crop keeps before it is enlarged; 1: no crop."""
    jitter: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of brightness, contrast and saturation."""

    @property
    def only_mirrors(self) -> bool:
        """Whether an image has no other copies than its mirror image."""
        return self.crop == 1 and self.jitter == 0


def augment(images: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Augmented copies of ``(N, 3, H, W)`` images in [0, 1].

    Args:
        generator: on the CPU. The same numbers are drawn for all settings, so that switching one
            change on does not alter the others.
    """
    draws = _draws(len(images), generator).to(images.device)
    turned, area, across, down = draws[:4]
    if settings.flip > 0:
        flipped = (turned < settings.flip)[:, None, None, None]
        images = torch.where(flipped, images.flip(-1), images)
    if settings.crop < 1:
        side = torch.sqrt(settings.crop + (1 - settings.crop) * area)
        images = crop(images, side, across * (1 - side), down * (1 - side))
    if settings.jitter > 0:
        brightness, contrast, saturation = 1 + settings.jitter * (2 * draws[4:] - 1)
        images = jitter(images, brightness, contrast, saturation)
    return images


def mirrored(count: int, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Which of the next ``count`` images :func:`augment` mirrors: ``(count,)`` bool, on the CPU.

    It advances the generator as :func:`augment` does.
    """
    return _draws(count, generator)[0] < settings.flip


def crop(images: Tensor, side: Tensor, left: Tensor, top: Tensor) -> Tensor:
    """A part of each image, enlarged to the size of the image (bilinear).

    Args:
        side, left, top: ``(N,)``, in units of the image's width and height.
    """
    zero = torch.zeros_like(side)
    across = torch.stack([side, zero, 2 * left + side - 1], dim=1)
    down = torch.stack([zero, side, 2 * top + side - 1], dim=1)
    grid = F.affine_grid(
        torch.stack([across, down], dim=1), list(images.shape), align_corners=False
    )
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def jitter(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Scale brightness, then contrast, then saturation, by factors ``(N,)``; 1 is no change."""
    images = _blended(images, torch.zeros_like(images), brightness)
    images = _blended(images, _gray(images).mean((1, 2, 3), keepdim=True), contrast)
    return _blended(images, _gray(images), saturation)


def _draws(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand((7, count), generator=generator)


def _blended(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = factor[:, None, None, None]
    return (share * images + (1 - share) * other).clamp(0, 1)


def _gray(images: Tensor) -> Tensor:
    weights = images.new_tensor(GRAY)[None, :, None, None]
    return (images * weights).sum(1, keepdim=True)
