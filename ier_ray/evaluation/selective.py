"""Selective classification: how often a network is wrong if it may leave out what it doubts.

Source: El-Yaniv and Wiener, On the foundations of noise-free selective classification, JMLR 2010;
the area: Geifman, Uziel and El-Yaniv, Bias-reduced uncertainty estimation for deep neural
classifiers, ICLR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ier_ray.evaluation.calibration import by_confidence
from ier_ray.evaluation.metrics import Floats


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Share of errors among the most confident images, for each number of these.

    Attributes:
        coverage: ``(N,)`` share of the images that are answered: 1/N, 2/N, ..., 1.
        risk: ``(N,)`` share of errors among them.
        area: mean of ``risk``; 0 is best. Confidence that knows nothing has the error rate.
        best_area: of a confidence that puts every error behind every correct answer.
    """

    coverage: Floats
    risk: Floats
    area: float
    best_area: float

    @property
    def error(self) -> float:
        """Share of errors among all images."""
        return float(self.risk[-1])

    def at(self, coverage: float) -> float:
        """Share of errors among the given share of images, at least one."""
        answered = max(1, round(coverage * len(self.risk)))
        return float(self.risk[answered - 1])


def risk_coverage(probabilities: Floats, labels: NDArray[np.int64]) -> RiskCoverage:
    """The curve of N images (at least one), by the probability of the predicted class.

    Images of equal confidence count as their mean, so the order of rows does not matter.
    """
    _, right = by_confidence(probabilities, labels)
    wrong = 1 - right[::-1]
    answered = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(wrong) / answered
    return RiskCoverage(
        coverage=answered / len(wrong),
        risk=risk,
        area=float(risk.mean()),
        best_area=_best_area(round(float(wrong.sum())), len(wrong)),
    )


def _best_area(errors: int, images: int) -> float:
    answered = np.arange(1, images + 1)
    return float((np.maximum(0, answered - (images - errors)) / answered).mean())
