"""The joint loss of the paper (Eq. 1-3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

DiscrepancyMode = Literal["same_image", "paired", "class_mean"]


class JointLogits(NamedTuple):
    """What one forward pass of both networks gives, each ``(batch, classes)``."""

    fer: Tensor
    """Logits of ``fer`` on the FER images."""
    ier: Tensor
    """Logits of ``ier`` on the IER images."""
    cross: Tensor | None
    """Logits of ``fer`` on the IER images, where the loss needs them."""


class LossParts(NamedTuple):
    """The loss and its parts, unweighted, all scalars."""

    total: Tensor
    fer: Tensor
    ier: Tensor
    discrepancy: Tensor
    regularization: Tensor


def discrepancy(p: Tensor, q: Tensor) -> Tensor:
    """Eq. 3: mean over samples of ``(1/K) Σ_k |p_k − q_k|``.

    Args:
        p, q: ``(B, K)`` class probabilities, rows sum to 1. ``B`` may be 0: the result is 0.
    """
    return (p - q).abs().sum() / max(1, p.numel())


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


def joint_discrepancy(
    logits: JointLogits, fer_labels: Tensor, ier_labels: Tensor, mode: DiscrepancyMode
) -> Tensor:
    """Eq. 3 between the two networks.

    ``same_image``: both networks on the same IER images. ``paired``: each network on its own
    domain, samples of equal label paired. ``class_mean``: per class in both batches, the mean
    probabilities of each domain.
    """
    ier = logits.ier.softmax(1)
    if mode == "same_image":
        if logits.cross is None:
            raise ValueError("discrepancy mode 'same_image' needs the cross logits")
        return discrepancy(logits.cross.softmax(1), ier)
    fer = logits.fer.softmax(1)
    if mode == "paired":
        left, right = pair_by_label(fer_labels, ier_labels)
        return discrepancy(fer[left], ier[right])
    shared = torch.unique(fer_labels)
    shared = shared[torch.isin(shared, ier_labels)]
    return discrepancy(class_means(fer, fer_labels, shared), class_means(ier, ier_labels, shared))


@dataclass(frozen=True)
class JointLoss:
    """Eq. 1: ``CE_fer + CE_ier + balance · D + regularization · Σ‖w_fc‖²``."""

    balance: float = 1.0
    regularization: float = 0.0
    mode: DiscrepancyMode = "same_image"

    @property
    def needs_cross(self) -> bool:
        """Whether ``fer`` must also see the IER images."""
        return self.mode == "same_image" and self.balance > 0

    def __call__(
        self,
        logits: JointLogits,
        fer_labels: Tensor,
        ier_labels: Tensor,
        dense_weights: Iterable[Tensor],
    ) -> LossParts:
        """Loss of one batch; ``dense_weights`` are the dense layers' weight matrices."""
        fer = F.cross_entropy(logits.fer, fer_labels)
        ier = F.cross_entropy(logits.ier, ier_labels)
        if self.balance > 0:
            apart = joint_discrepancy(logits, fer_labels, ier_labels, self.mode)
        else:
            apart = logits.ier.new_zeros(())
        squares = torch.stack([weight.square().sum() for weight in dense_weights]).sum()
        total = fer + ier + self.balance * apart + self.regularization * squares
        return LossParts(total, fer, ier, apart, squares)
