"""Whether a network is right as often as it is confident: the data of a calibration plot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ier_ray.evaluation.intervals import LEVEL
from ier_ray.evaluation.metrics import CALIBRATION_BINS, CALIBRATION_SAMPLES, Floats


@dataclass(frozen=True)
class CalibrationBin:
    """Images of neighboring confidence."""

    images: int
    confidence: float
    """Mean probability of the predicted class."""
    accuracy: float
    low: float
    """Lower end of the accuracy's 95 % interval (Wilson), for independent images."""
    high: float


def calibration_bins(
    probabilities: Floats, labels: NDArray[np.int64], *, bins: int = CALIBRATION_BINS
) -> list[CalibrationBin] | None:
    """Bins of equally many images, in ascending order of confidence.

    The mean of |accuracy - confidence| over images is
    :func:`ier_ray.evaluation.metrics.calibration_error`. Images of equal confidence share their
    mean accuracy, so the order of rows does not matter.

    Returns:
        None below :data:`~ier_ray.evaluation.metrics.CALIBRATION_SAMPLES` images: noise in the
        bins exceeds what they could show.

    Source: as of :func:`~ier_ray.evaluation.metrics.calibration_error`; the interval: E. B.
    Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if len(labels) < CALIBRATION_SAMPLES:
        return None
    confidence, shared = by_confidence(probabilities, labels)
    parts = zip(np.array_split(confidence, bins), np.array_split(shared, bins), strict=True)
    return [_bin(own, right) for own, right in parts]


def by_confidence(probabilities: Floats, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Each image's confidence ``(N,)``, ascending, and whether it is right ``(N,)``: 0 or 1.

    Images of equal confidence all have their mean.
    """
    right = (probabilities.argmax(1) == labels).astype(np.float64)
    values, positions, counts = np.unique(
        probabilities.max(1), return_inverse=True, return_counts=True
    )
    shared = np.bincount(positions, right) / counts
    return np.repeat(values, counts), np.repeat(shared, counts)


def _bin(confidence: Floats, right: Floats) -> CalibrationBin:
    images, accuracy = len(right), float(right.mean())
    low, high = wilson_interval(accuracy, images)
    return CalibrationBin(images, float(confidence.mean()), accuracy, low, high)


def wilson_interval(share: float, count: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a share of ``count`` independent images."""
    z = float(stats.norm.ppf((1 + level) / 2))
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    margin = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + (z / count) ** 2 / 4)
    return max(0.0, float(middle - margin)), min(1.0, float(middle + margin))
