"""CORAL: the distance of two domains' feature covariances."""

from __future__ import annotations

from torch import Tensor


def coral(first: Tensor, second: Tensor) -> Tensor:
    """``‖C₁ − C₂‖²_F / (4 d²)`` of the covariances of two batches of features.

    Args:
        first, second: features ``(A, d)`` and ``(B, d)``; ``A`` and ``B`` may differ.

    Source: Sun and Saenko, Deep CORAL, 2016, Eq. 1-3 (covariances divided by ``n − 1``).
    """
    difference = covariance(first) - covariance(second)
    return difference.square().sum() / (4 * first.shape[1] ** 2)


def covariance(features: Tensor) -> Tensor:
    """Unbiased covariance ``(d, d)`` of features ``(n, d)``; zero where ``n`` is 1."""
    centered = features - features.mean(0)
    return centered.T @ centered / max(1, len(features) - 1)
