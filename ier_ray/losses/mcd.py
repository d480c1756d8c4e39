"""MCD: a discrepancy that the classifiers' heads maximize and their trunks minimize."""

from __future__ import annotations

from torch import Tensor

from ier_ray.losses.adversarial import reverse_gradient
from ier_ray.losses.discrepancy import discrepancy


def classifier_discrepancy(p: Tensor, q: Tensor) -> Tensor:
    """Eq. 3, which the networks' last dense layers maximize and all other layers minimize.

    Gradient reversal joins the source's maximization and minimization steps into one. Here each
    classifier has its own trunk; in the source they share one. The mode ``same_image`` is the
    minimization step alone, over all weights.

    Args:
        p, q: ``(B, K)`` class probabilities of both networks on the same images, from logits
            with the gradient reversed between head and trunk (``contested``).

    Source: Saito et al., Maximum Classifier Discrepancy for Unsupervised Domain Adaptation, 2018.
    """
    return reverse_gradient(discrepancy(p, q))
