"""Eq. 1: the joint loss of both networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

from ier_ray.losses.outputs import Compared, JointOutputs
from ier_ray.losses.registry import DISCREPANCIES, DiscrepancyMode, DiscrepancySpec

Supervision = Literal["both", "fer"]
DiscrepancyGradient = Literal["both", "ier"]


class LossParts(NamedTuple):
    """The loss and its parts, unweighted, all scalars."""

    total: Tensor
    fer: Tensor
    ier: Tensor
    discrepancy: Tensor
    regularization: Tensor


@dataclass(frozen=True)
class JointLoss:
    """Eq. 1: ``CE_fer + CE_ier + balance · D + regularization · Σ‖w_fc‖²``.

    With ``supervision="fer"`` no IER label is read: ``CE_ier`` is the cross-entropy of ``ier`` on
    the FER images. ``classification`` is the weight of both cross-entropies: with 0, only ``D`` and
    the regularization remain. With ``gradient="ier"`` the discrepancy has no gradient in ``fer``.
    """

    balance: float = 1.0
    regularization: float = 0.0
    mode: DiscrepancyMode = "same_image"
    supervision: Supervision = "both"
    classification: float = 1.0
    label_smoothing: float = 0.0
    gradient: DiscrepancyGradient = "both"

    @property
    def discrepancy(self) -> DiscrepancySpec:
        """The discrepancy ``D`` of the mode."""
        return DISCREPANCIES[self.mode]

    @property
    def measures_discrepancy(self) -> bool:
        """Whether ``D`` is computed.

        A mode with a discriminator computes it at balance 0 too: DDP waits for the gradient of
        every parameter.
        """
        return self.balance > 0 or self.discrepancy.needs_discriminator

    @property
    def compared(self) -> Compared:
        """The pair that the forward pass must return for the discrepancy."""
        return self.discrepancy.compared if self.measures_discrepancy else "logits"

    @property
    def ier_on_fer(self) -> bool:
        """Whether ``ier`` must also see the FER images."""
        return self.supervision == "fer"

    def __call__(
        self,
        outputs: JointOutputs,
        fer_labels: Tensor,
        ier_labels: Tensor,
        dense_weights: Iterable[Tensor],
    ) -> LossParts:
        """Loss of one batch; ``dense_weights`` are the dense layers' weight matrices."""
        fer = self._cross_entropy(outputs.fer, fer_labels)
        if outputs.ier_on_fer is None:
            ier = self._cross_entropy(outputs.ier, ier_labels)
        else:
            ier = self._cross_entropy(outputs.ier_on_fer, fer_labels)
        if self.measures_discrepancy:
            discrepancy = self.discrepancy(outputs.compared, fer_labels, ier_labels)
        else:
            discrepancy = outputs.ier.new_zeros(())
        squares = torch.stack([weight.square().sum() for weight in dense_weights]).sum()
        total = (
            self.classification * (fer + ier)
            + self.balance * discrepancy
            + self.regularization * squares
        )
        return LossParts(total, fer, ier, discrepancy, squares)

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        if not len(labels):  # of a network that the run does not have
            return logits.new_zeros(())
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
