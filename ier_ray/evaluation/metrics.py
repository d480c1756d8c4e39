"""Metrics of predicted probabilities: pure functions of ``(probabilities, labels)``.

Everywhere, ``probabilities`` is ``(N, K)`` with rows that sum to 1, ``labels`` is ``(N,)`` with
indices of the true classes, and N is at least 1. The predicted class is the most probable one, the
first of several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ier_ray.errors import DataError

Floats = NDArray[np.float64]
Metric = Callable[[Floats, NDArray[np.int64]], float]
"""A number computed from ``(probabilities, labels)``."""

CALIBRATION_BINS = 15
CALIBRATION_SAMPLES = 300
"""Fewest images whose calibration error is computed: below, noise in the bins exceeds it."""
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
"""Lower bound of a probability in the log loss, so that it stays finite."""


@dataclass(frozen=True)
class ConfusionMetric:
    """A metric that depends on the confusion matrix alone, computed for many matrices at once."""

    of: Callable[[Floats], Floats]
    """From confusion matrices ``(..., K, K)``, rows true classes, to values ``(...)``."""

    def __call__(self, probabilities: Floats, labels: NDArray[np.int64]) -> float:
        """The metric of predictions."""
        return float(self.of(confusion_matrix(probabilities, labels).astype(np.float64)))


@dataclass(frozen=True)
class Metrics:
    """All metrics of the predictions of some images; free of NaN."""

    samples: int
    """Images N."""
    classes: tuple[str, ...]
    accuracy: float
    balanced_accuracy: float
    """Mean recall of the classes that occur among the labels; absent classes do not count."""
    macro_f1: float
    """Mean F1 of the classes that occur among the labels or the predictions."""
    majority_share: float
    """Share of the most frequent class: the accuracy of predicting it always."""
    recall: dict[str, float | None]
    """Recall of each class; None for one that does not occur."""
    f1: dict[str, float]
    """F1 of each class; 0 for one that neither occurs nor is predicted."""
    confusion: list[list[int]]
    """Rows are true classes, columns predicted ones, both in the order of ``classes``."""
    log_loss: float
    """Mean negative log probability of the true class, in nats."""
    brier: float
    """Mean squared distance of the probabilities to the one-hot label, summed over classes: 0 to
    2."""
    calibration_error: float | None
    """Expected calibration error; None below :data:`CALIBRATION_SAMPLES` images."""


def measure(probabilities: Floats, labels: NDArray[np.int64], classes: tuple[str, ...]) -> Metrics:
    """All metrics at once.

    Raises:
        DataError: when there is no prediction.
    """
    if not len(labels):
        raise DataError("there are no predictions to measure")
    counts = confusion_matrix(probabilities, labels)
    confusion = counts.astype(np.float64)
    recalls, occurs = recall_of(confusion), counts.sum(1) > 0
    calibrated = len(labels) >= CALIBRATION_SAMPLES
    return Metrics(
        samples=len(labels),
        classes=classes,
        accuracy=float(accuracy.of(confusion)),
        balanced_accuracy=float(balanced_accuracy.of(confusion)),
        macro_f1=float(macro_f1.of(confusion)),
        majority_share=float(majority_share.of(confusion)),
        recall={
            name: float(recall) if present else None
            for name, recall, present in zip(classes, recalls, occurs, strict=True)
        },
        f1=dict(zip(classes, f1_of(confusion).tolist(), strict=True)),
        confusion=counts.tolist(),
        log_loss=log_loss(probabilities, labels),
        brier=brier(probabilities, labels),
        calibration_error=calibration_error(probabilities, labels) if calibrated else None,
    )


def confusion_matrix(probabilities: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts ``(K, K)``: rows are true classes, columns predicted ones."""
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def recall_of(confusion: Floats) -> Floats:
    """Recall of each class ``(..., K)``; 0 for one that does not occur."""
    hits, occurring = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1)
    return _divided(hits, occurring)


def precision_of(confusion: Floats) -> Floats:
    """Precision of each class ``(..., K)``; 0 for one that is not predicted."""
    hits, predicted = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-2)
    return _divided(hits, predicted)


def f1_of(confusion: Floats) -> Floats:
    """F1 of each class ``(..., K)``; 0 for one that neither occurs nor is predicted."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _divided(2 * hits, confusion.sum(-1) + confusion.sum(-2))


def _accuracy(confusion: Floats) -> Floats:
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _divided(hits.sum(-1), confusion.sum((-2, -1)))


def _balanced_accuracy(confusion: Floats) -> Floats:
    return _divided(recall_of(confusion).sum(-1), (confusion.sum(-1) > 0).sum(-1))


def _macro_f1(confusion: Floats) -> Floats:
    involved = (confusion.sum(-1) + confusion.sum(-2)) > 0
    return _divided(f1_of(confusion).sum(-1), involved.sum(-1))


def _majority_share(confusion: Floats) -> Floats:
    return _divided(confusion.sum(-1).max(-1), confusion.sum((-2, -1)))


def _divided(numerator: Floats, denominator: NDArray[np.generic]) -> Floats:
    """The quotient; 0 where the denominator is 0."""
    quotient: Floats = np.divide(
        numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0
    )
    return quotient


accuracy = ConfusionMetric(_accuracy)
"""Share of the images whose most probable class is the true one."""
balanced_accuracy = ConfusionMetric(_balanced_accuracy)
"""Mean recall of the classes that occur among the labels; absent classes do not count."""
macro_f1 = ConfusionMetric(_macro_f1)
"""Mean F1 of the classes that occur among the labels or the predictions."""
majority_share = ConfusionMetric(_majority_share)
"""Share of the most frequent class among the labels."""


def log_loss(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Mean negative log probability of the true class, in nats; probabilities below
    :data:`SMALLEST_PROBABILITY` count as that."""
    given = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(given, SMALLEST_PROBABILITY)).mean())


def brier(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Multiclass Brier score: the squared error summed over classes, mean over images (0 to 2).

    Source: G. W. Brier, Verification of forecasts expressed in terms of probability, 1950.
    """
    target = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - target) ** 2).sum(1).mean())


def calibration_error(
    probabilities: Floats, labels: NDArray[np.int64], *, bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error of the predicted class, over bins of equally many images.

    The mean over images of |accuracy - mean confidence| of the image's bin. Images of equal
    confidence share their mean accuracy, so the order of rows does not matter.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017; bins of equal mass as
    in Nixon et al., Measuring calibration in deep learning, CVPR workshops 2019.
    """
    confidence = probabilities.max(1)
    correct = (probabilities.argmax(1) == labels).astype(np.float64)
    values, positions, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    shared = np.bincount(positions, correct) / counts
    gaps = np.repeat(shared - values, counts)  # in ascending order of confidence
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, bins)) / len(labels))
