"""Correction of predictions for other class frequencies than those of training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ier_ray.errors import DataError
from ier_ray.evaluation.metrics import Floats

SUM_TOLERANCE = 1e-6


def adjusted(
    probabilities: Floats, trained: Mapping[str, float], target: Mapping[str, float]
) -> Floats:
    """Posteriors under other class frequencies: proportional to ``p_k · target_k / trained_k``.

    Exact where ``probabilities`` are the posteriors under ``trained`` and the images of each class
    look the same in both. A network that saw balanced batches is trained under the uniform prior.

    Source: Saerens, Latinne and Decaestecker, Adjusting the outputs of a classifier to new a priori
    probabilities, Neural Computation 2002, Eq. 2.4; as an offset of the logits: Menon et al.,
    Long-tail learning via logit adjustment, ICLR 2021.

    Args:
        probabilities: ``(N, K)``.
        trained: frequency of each class in training, in the order of the columns.
        target: frequency of each class where the network is used, in the same order.

    Raises:
        DataError: naming the class whose frequency is not positive, or when a prior does not sum
            to 1 or names other classes.
    """
    if list(trained) != list(target) or len(trained) != probabilities.shape[1]:
        raise DataError(
            f"priors must name the {probabilities.shape[1]} classes in their order, got "
            f"trained {list(trained)} and target {list(target)}"
        )
    weights = _checked(target, "target") / _checked(trained, "trained")
    weighted = probabilities * weights
    total: Floats = weighted.sum(1, keepdims=True)
    return weighted / total


def prior_of(
    labels: NDArray[np.int64], classes: tuple[str, ...], *, smoothing: float = 0.0
) -> dict[str, float]:
    """Frequency of each class: ``(n_k + smoothing) / (N + K · smoothing)``.

    Args:
        labels: ``(N,)`` class indices.
        smoothing: images added to each class; 1 is Laplace's rule. With 0, each class must occur,
            because a frequency of 0 can be neither corrected for nor corrected to.

    Raises:
        DataError: naming the classes that do not occur, without smoothing.
    """
    counts = np.bincount(labels, minlength=len(classes)) + smoothing
    absent = [name for name, count in zip(classes, counts, strict=True) if count <= 0]
    if absent:
        raise DataError(
            f"no image is of class {', '.join(absent)}: the prior of an absent class is unknown; "
            f"give smoothing=1 to count one image more of each class"
        )
    return dict(zip(classes, (counts / counts.sum()).tolist(), strict=True))


def uniform_prior(classes: tuple[str, ...]) -> dict[str, float]:
    """The prior of a network that was trained on balanced batches."""
    return dict.fromkeys(classes, 1 / len(classes))


def _checked(prior: Mapping[str, float], which: str) -> Floats:
    for name, frequency in prior.items():
        if not frequency > 0:
            raise DataError(f"{which} prior of class {name!r} must be > 0, got {frequency}")
    values = np.asarray(list(prior.values()), dtype=np.float64)
    if not abs(values.sum() - 1) <= SUM_TOLERANCE:
        raise DataError(f"{which} prior must sum to 1, got {values.sum():g}: {dict(prior)}")
    return values
