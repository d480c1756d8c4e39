"""Maximum mean discrepancy of two domains' features under several Gaussian kernels."""

from __future__ import annotations

import torch
from torch import Tensor

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Kernel widths, as factors on the mean squared distance of the joint sample."""
SMALLEST_DISTANCE = 1e-12
"""Lower bound of the mean squared distance, against division by 0 where all features are equal."""


def mmd(first: Tensor, second: Tensor) -> Tensor:
    """Squared MMD, biased estimate over all pairs: never negative, and 0 for equal samples.

    The kernel is the mean of ``exp(−‖x − y‖² / γ)`` over five ``γ`` around the mean squared
    distance of two different samples, which is treated as a constant.

    Args:
        first, second: features ``(A, d)`` and ``(B, d)``; ``A`` and ``B`` may differ.

    Source: Gretton et al., A Kernel Two-Sample Test, 2012, Eq. 5; kernels as in Long et al., DAN,
    2015, with equal weights.
    """
    joint = torch.cat([first, second])
    squared = squared_distances(joint)
    pairs = max(1, len(joint) * (len(joint) - 1))
    scale = (squared.detach().sum() / pairs).clamp_min(SMALLEST_DISTANCE)
    widths = scale * squared.new_tensor(BANDWIDTHS)
    kernel = (-squared[..., None] / widths).exp().mean(-1)
    cut = len(first)
    within = kernel[:cut, :cut].mean() + kernel[cut:, cut:].mean()
    return within - 2 * kernel[:cut, cut:].mean()


def squared_distances(points: Tensor) -> Tensor:
    """``‖x_i − x_j‖²`` of points ``(n, d)``, as ``(n, n)``."""
    norms = points.square().sum(1)
    products = points @ points.T
    squared = (norms[:, None] + norms[None, :] - 2 * products).clamp_min(0)
    return squared.masked_fill(torch.eye(len(points), dtype=torch.bool, device=points.device), 0)
