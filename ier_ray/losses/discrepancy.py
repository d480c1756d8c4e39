"""The discrepancy of the paper (Eq. 3), and the samples that it compares."""

from __future__ import annotations

import torch
from torch import Tensor


def discrepancy(p: Tensor, q: Tensor) -> Tensor:
    """Eq. 3: mean over samples of ``(1/K) Σ_k |p_k − q_k|``.

    Args:
        p, q: ``(B, K)`` class probabilities, rows sum to 1. ``B`` may be 0: the result is 0.
    """
    return (p - q).abs().sum() / max(1, p.numel())


def paired_discrepancy(p: Tensor, q: Tensor, p_labels: Tensor, q_labels: Tensor) -> Tensor:
    """Eq. 3 over samples of equal label, paired by :func:`pair_by_label`."""
    left, right = pair_by_label(p_labels, q_labels)
    return discrepancy(p[left], q[right])


def class_mean_discrepancy(p: Tensor, q: Tensor, p_labels: Tensor, q_labels: Tensor) -> Tensor:
    """Eq. 3 over the mean probabilities of each class that both batches have."""
    shared = torch.unique(p_labels)
    shared = shared[torch.isin(shared, q_labels)]
    return discrepancy(class_means(p, p_labels, shared), class_means(q, q_labels, shared))


def pair_by_label(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Positions that pair samples of equal label.

    The i-th sample of a class in ``first`` goes with the i-th of that class in ``second``;
    samples without a partner are left out.

    Args:
        first, second: labels ``(A,)`` and ``(B,)``.
    """
    equal = first[:, None] == second[None, :]
    nth_first = torch.tril(first[:, None] == first[None, :], diagonal=-1).sum(1)
    nth_second = torch.tril(second[:, None] == second[None, :], diagonal=-1).sum(1)
    matched = equal & (nth_first[:, None] == nth_second[None, :])
    left, right = matched.nonzero(as_tuple=True)
    return left, right


def class_means(probabilities: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """Mean row of ``probabilities`` ``(B, K)`` for each label in ``classes`` ``(C,)``."""
    members = (labels[None, :] == classes[:, None]).to(probabilities.dtype)
    return members @ probabilities / members.sum(1, keepdim=True)
