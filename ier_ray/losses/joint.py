"""Eq. 1: the loss of both networks together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

from ier_ray.losses.adversarial import domain_confusion, reverse_gradient
from ier_ray.losses.coral import coral
from ier_ray.losses.discrepancy import class_mean_discrepancy, discrepancy, paired_discrepancy
from ier_ray.losses.mmd import mmd
from ier_ray.losses.outputs import Compared, JointOutputs

DiscrepancyMode = Literal["same_image", "paired", "class_mean", "mcd", "mmd", "coral", "dann"]
Supervision = Literal["both", "fer"]

COMPARED: dict[DiscrepancyMode, Compared] = {
    "same_image": "cross",
    "paired": "logits",
    "class_mean": "logits",
    "mcd": "contested",
    "mmd": "features",
    "coral": "features",
    "dann": "domains",
}
FEATURE_LOSSES: dict[DiscrepancyMode, Callable[[Tensor, Tensor], Tensor]] = {
    "mmd": mmd,
    "coral": coral,
    "dann": domain_confusion,
}
LABEL_MODES: tuple[DiscrepancyMode, ...] = ("paired", "class_mean")
"""Modes that read the labels of the IER images."""
FEATURE_MODES: tuple[DiscrepancyMode, ...] = ("mcd", "mmd", "coral", "dann")
"""Modes that need the features before the last dense layer."""
ADVERSARIAL_MODES: tuple[DiscrepancyMode, ...] = ("mcd", "dann")
"""Modes that are a game of one part of the networks against another, not a distance."""


class LossParts(NamedTuple):
    """The loss and its parts, unweighted, all scalars."""

    total: Tensor
    fer: Tensor
    ier: Tensor
    discrepancy: Tensor
    regularization: Tensor


def joint_discrepancy(
    outputs: JointOutputs, fer_labels: Tensor, ier_labels: Tensor, mode: DiscrepancyMode
) -> Tensor:
    """The distance between the two networks, from ``outputs.compared`` (see ``COMPARED``).

    ``same_image``: Eq. 3, both networks on the same IER images. ``paired``: Eq. 3, each network
    on its own domain, samples of equal label paired. ``class_mean``: Eq. 3 of the mean
    probabilities of each class in both batches.

    ``mcd``: the value of ``same_image`` as a game. The networks' last dense layers maximize it,
    the trunks before them minimize it: the maximum and minimum steps of Saito et al., Maximum
    Classifier Discrepancy, 2018, in one step by gradient reversal, with a trunk for each
    classifier where they share one. ``same_image`` is its minimum step alone, for all weights.

    ``mmd``, ``coral``: distances of the features of each network on its own domain. ``dann``: a
    discriminator tells those features apart, the networks confuse it.
    """
    first, second = outputs.compared
    if mode in FEATURE_LOSSES:
        return FEATURE_LOSSES[mode](first, second)
    p, q = first.softmax(1), second.softmax(1)
    match mode:
        case "paired":
            return paired_discrepancy(p, q, fer_labels, ier_labels)
        case "class_mean":
            return class_mean_discrepancy(p, q, fer_labels, ier_labels)
        case "mcd":
            return reverse_gradient(discrepancy(p, q))
        case _:
            return discrepancy(p, q)


@dataclass(frozen=True)
class JointLoss:
    """Eq. 1: ``CE_fer + CE_ier + balance · D + regularization · Σ‖w_fc‖²``.

    With ``supervision="fer"`` no IER label is read: ``CE_ier`` is the cross-entropy of ``ier`` on
    the FER images. ``classification`` weighs both cross-entropies: 0 leaves ``D`` alone.
    """

    balance: float = 1.0
    regularization: float = 0.0
    mode: DiscrepancyMode = "same_image"
    supervision: Supervision = "both"
    classification: float = 1.0

    @property
    def compared(self) -> Compared:
        """What the forward pass must give for the discrepancy."""
        # The discriminator takes part even at balance 0: DDP waits for every parameter's gradient.
        return COMPARED[self.mode] if self.balance > 0 or self.mode == "dann" else "logits"

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
        fer = F.cross_entropy(outputs.fer, fer_labels)
        if outputs.ier_on_fer is None:
            ier = F.cross_entropy(outputs.ier, ier_labels)
        else:
            ier = F.cross_entropy(outputs.ier_on_fer, fer_labels)
        if self.balance > 0 or self.mode == "dann":
            apart = joint_discrepancy(outputs, fer_labels, ier_labels, self.mode)
        else:
            apart = outputs.ier.new_zeros(())
        squares = torch.stack([weight.square().sum() for weight in dense_weights]).sum()
        total = (
            self.classification * (fer + ier) + self.balance * apart + self.regularization * squares
        )
        return LossParts(total, fer, ier, apart, squares)
