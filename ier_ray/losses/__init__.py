"""The joint loss of the paper (Eq. 1-3), and discrepancies from domain adaptation."""

from ier_ray.losses.adversarial import domain_confusion, reverse_gradient
from ier_ray.losses.coral import coral
from ier_ray.losses.discrepancy import class_means, discrepancy, pair_by_label
from ier_ray.losses.hidden import hidden_discrepancy
from ier_ray.losses.joint import DiscrepancyGradient, JointLoss, LossParts, Supervision
from ier_ray.losses.marginal import output_discrepancy
from ier_ray.losses.mcd import classifier_discrepancy
from ier_ray.losses.mmd import mmd
from ier_ray.losses.outputs import Compared, JointOutputs
from ier_ray.losses.registry import DISCREPANCIES, DiscrepancyMode, DiscrepancySpec

__all__ = [
    "DISCREPANCIES",
    "Compared",
    "DiscrepancyGradient",
    "DiscrepancyMode",
    "DiscrepancySpec",
    "JointLoss",
    "JointOutputs",
    "LossParts",
    "Supervision",
    "class_means",
    "classifier_discrepancy",
    "coral",
    "discrepancy",
    "domain_confusion",
    "hidden_discrepancy",
    "mmd",
    "output_discrepancy",
    "pair_by_label",
    "reverse_gradient",
]
