"""MCD: the discrepancy of two classifiers as a game of heads against trunks."""

from __future__ import annotations

from torch import Tensor

from ier_ray.losses.adversarial import reverse_gradient
from ier_ray.losses.discrepancy import discrepancy


def classifier_discrepancy(p: Tensor, q: Tensor) -> Tensor:
    """The value of Eq. 3, which the networks' last dense layers maximize and the rest minimizes.

    The maximum and minimum steps of the source in one step by gradient reversal, with a trunk for
    each classifier where the source shares one. ``same_image`` is its minimum step alone, for all
    weights.

    Args:
        p, q: ``(B, K)`` class probabilities of both networks on the same images, from logits that
            reverse the gradient between head and trunk (``contested``).

    Source: Saito et al., Maximum Classifier Discrepancy for Unsupervised Domain Adaptation, 2018.
    """
    return reverse_gradient(discrepancy(p, q))
