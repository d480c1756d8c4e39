"""Explainers that see pixels: captum's occlusion and gradients; one attribution per pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion
from numpy.typing import NDArray
from torch import Tensor, nn

from ier_ray.explain.evaluators import ScoreFunction, probability

Density = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """What is explained: one class's score of an image.

    Attributes:
        network: in eval mode.
        image, baseline: normalized, ``(C, H, W)``.
        target: index of the class.
        layer: the convolution whose maps GradCAM weighs.
        window: height and width of occlusion's window: a region's.
        score: what of the logits is explained.
    """

    network: nn.Module
    image: Tensor
    baseline: Tensor
    target: int
    layer: nn.Module
    window: tuple[int, int]
    score: ScoreFunction = probability

    def class_score(self, images: Tensor) -> Tensor:
        """Scores ``(M,)`` of images ``(M, C, H, W)``."""
        return self.score(self.network(images))[:, self.target]


def captum_occlusion(subject: Subject, *, budget: int) -> Density:
    """``Occlusion``: a region's window, moved by half of it where the budget pays for that."""
    half = tuple(max(1, side // 2) for side in subject.window)
    strides = next((s for s in (half, subject.window) if positions(subject, s) < budget), None)
    if strides is None:
        least = positions(subject, subject.window) + 1
        raise ValueError(f"budget of captum_occlusion must be >= {least}, got {budget}")
    channels = len(subject.image)
    with torch.no_grad():
        found = Occlusion(subject.class_score).attribute(
            subject.image[None],
            sliding_window_shapes=(channels, *subject.window),
            strides=(channels, *strides),
            baselines=subject.baseline[None],
        )
    return pixel_sums(found)


def captum_integrated_gradients(subject: Subject, *, budget: int) -> Density:
    """``IntegratedGradients`` with one step per evaluation."""
    found = IntegratedGradients(subject.class_score).attribute(
        subject.image[None],
        baselines=subject.baseline[None],
        n_steps=budget,
        internal_batch_size=min(budget, 32),
    )
    return pixel_sums(found)


def captum_grad_cam(subject: Subject, *, budget: int) -> Density:  # noqa: ARG001 (one pass)
    """``LayerGradCam``, one pass whatever the budget, enlarged to the image."""
    found = LayerGradCam(subject.class_score, subject.layer).attribute(subject.image[None])
    enlarged = LayerAttribution.interpolate(
        found, tuple(subject.image.shape[-2:]), interpolate_mode="bilinear"
    )
    return pixel_sums(enlarged)


IMAGE_PEERS: dict[str, Callable[..., Density]] = {
    "captum_occlusion": captum_occlusion,
    "captum_integrated_gradients": captum_integrated_gradients,
    "captum_grad_cam": captum_grad_cam,
}


def positions(subject: Subject, strides: tuple[int, ...]) -> int:
    """Places of occlusion's window; the last may reach over the border."""
    sides = zip(subject.image.shape[-2:], subject.window, strides, strict=True)
    return int(np.prod([-(-(size - window) // stride) + 1 for size, window, stride in sides]))


def pixel_sums(attribution: Tensor) -> Density:
    """``(H, W)``: summed over channels."""
    density: Density = attribution.detach()[0].sum(0).double().cpu().numpy()
    return density
