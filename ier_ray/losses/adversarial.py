"""Losses that one part of a network minimizes while another maximizes them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor


class _Reversal(torch.autograd.Function):
    """Identity forward, minus identity backward."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]


def reverse_gradient(values: Tensor) -> Tensor:
    """The same values, with their gradient negated in the backward pass.

    Source: Ganin et al., Domain-Adversarial Training of Neural Networks, 2016, Eq. 16-17.
    """
    reversed_: Tensor = _Reversal.apply(values)
    return reversed_


def domain_confusion(fer: Tensor, ier: Tensor) -> Tensor:
    """Binary cross-entropy of a domain discriminator: label 1 for ``fer``, 0 for ``ier``.

    Each domain has weight one half; the loss is ``log 2`` where the discriminator cannot tell
    them apart.

    Args:
        fer, ier: the discriminator's logits ``(A, 1)`` and ``(B, 1)`` on each domain's features.
            The features pass through :func:`reverse_gradient`: the discriminator learns to tell
            the domains apart, the networks learn to confuse it.

    Source: Ganin et al., 2016, Eq. 9.
    """
    fer_loss = F.binary_cross_entropy_with_logits(fer, torch.ones_like(fer))
    ier_loss = F.binary_cross_entropy_with_logits(ier, torch.zeros_like(ier))
    return (fer_loss + ier_loss) / 2
