"""Eq. 3 read as printed: it names two domains' distributions and no sample."""

from __future__ import annotations

from torch import Tensor


def output_discrepancy(p: Tensor, q: Tensor) -> Tensor:
    """``(1/K) Σ_k |mean p_k − mean q_k|``: Eq. 3 of the networks' mean outputs, each on its domain.

    It asks that both networks give each class equally often, whatever the images show.

    Args:
        p, q: ``(A, K)`` and ``(B, K)`` class probabilities; ``A`` and ``B`` may differ.
    """
    return (p.mean(0) - q.mean(0)).abs().mean()
