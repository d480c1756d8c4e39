"""The joint loss of the paper (Eq. 1-3) and its peers from domain adaptation."""

from ier_ray.losses.adversarial import domain_confusion, reverse_gradient
from ier_ray.losses.coral import coral
from ier_ray.losses.discrepancy import class_means, discrepancy, pair_by_label
from ier_ray.losses.joint import (
    ADVERSARIAL_MODES,
    FEATURE_MODES,
    LABEL_MODES,
    DiscrepancyMode,
    JointLoss,
    LossParts,
    Supervision,
    joint_discrepancy,
)
from ier_ray.losses.mmd import mmd
from ier_ray.losses.outputs import Compared, JointOutputs

__all__ = [
    "ADVERSARIAL_MODES",
    "FEATURE_MODES",
    "LABEL_MODES",
    "Compared",
    "DiscrepancyMode",
    "JointLoss",
    "JointOutputs",
    "LossParts",
    "Supervision",
    "class_means",
    "coral",
    "discrepancy",
    "domain_confusion",
    "joint_discrepancy",
    "mmd",
    "pair_by_label",
    "reverse_gradient",
]
