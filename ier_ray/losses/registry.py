"""Every discrepancy by its name in the settings; a new one needs its own file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from torch import Tensor

from ier_ray.losses.adversarial import domain_confusion
from ier_ray.losses.coral import coral
from ier_ray.losses.discrepancy import class_mean_discrepancy, discrepancy, paired_discrepancy
from ier_ray.losses.hidden import hidden_discrepancy
from ier_ray.losses.marginal import output_discrepancy
from ier_ray.losses.mcd import classifier_discrepancy
from ier_ray.losses.mmd import mmd
from ier_ray.losses.outputs import Compared


@dataclass(frozen=True)
class DiscrepancySpec:
    """A discrepancy of the two networks, and the tensors it is computed from.

    Attributes:
        distance: scalar function of the ``fer`` and the ``ier`` part of the pair, and of both
            batches' labels if it reads labels. Where logits are compared, it gets class
            probabilities.
        compared: the pair that the forward pass must return.
        reads_labels: whether it reads the labels, including those of the IER images.
    """

    distance: Callable[..., Tensor]
    compared: Compared
    reads_labels: bool = False

    def __call__(
        self, pair: tuple[Tensor, Tensor], fer_labels: Tensor, ier_labels: Tensor
    ) -> Tensor:
        """The discrepancy of the pair ``JointOutputs.compared``."""
        if self.compared in ("logits", "cross", "contested"):
            pair = pair[0].softmax(1), pair[1].softmax(1)
        return self.distance(*pair, *((fer_labels, ier_labels) if self.reads_labels else ()))

    @property
    def needs_features(self) -> bool:
        """Whether the forward pass must return the features before their last dense layer."""
        return self.compared in ("contested", "features", "cross_features", "domains")

    @property
    def needs_discriminator(self) -> bool:
        """Whether the joint model must have a domain discriminator."""
        return self.compared == "domains"

    @property
    def adversarial(self) -> bool:
        """Whether one part of the networks maximizes what another minimizes."""
        return self.compared in ("contested", "domains")


DISCREPANCIES: dict[str, DiscrepancySpec] = {
    "same_image": DiscrepancySpec(discrepancy, "cross"),
    "paired": DiscrepancySpec(paired_discrepancy, "logits", reads_labels=True),
    "class_mean": DiscrepancySpec(class_mean_discrepancy, "logits", reads_labels=True),
    "outputs": DiscrepancySpec(output_discrepancy, "logits"),
    "hidden": DiscrepancySpec(hidden_discrepancy, "cross_features"),
    "mcd": DiscrepancySpec(classifier_discrepancy, "contested"),
    "mmd": DiscrepancySpec(mmd, "features"),
    "coral": DiscrepancySpec(coral, "features"),
    "dann": DiscrepancySpec(domain_confusion, "domains"),
}

if TYPE_CHECKING:
    DiscrepancyMode: TypeAlias = str
else:  # settings accept the names of the table; type checkers cannot read them from it
    DiscrepancyMode = Literal[tuple(DISCREPANCIES)]
