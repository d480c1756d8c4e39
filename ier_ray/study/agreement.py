"""How far annotators agree: kappas, alpha, and the class that most of them chose.

N images, A annotators, K classes; ``labels`` is ``(N, A)``, indices of classes, complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import combinations
from math import isnan

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from ier_ray.errors import SettingsError
from ier_ray.evaluation.intervals import wilson_interval
from ier_ray.extras import optional_library

Labels = NDArray[np.int64]
TIE = -1
"""Stands for the majority class of an image without one."""


@dataclass(frozen=True)
class ShareOf:
    """A count, what it is of, and its share with Wilson's interval."""

    count: int
    of: int
    percent: float
    low: float
    """Ends of the 95 % interval in percent."""
    high: float

    @classmethod
    def counted(cls, count: int, of: int) -> ShareOf | None:
        """The share; None of nothing."""
        if not of:
            return None
        interval = wilson_interval(count, of)
        return cls(count, of, 100 * interval.estimate, 100 * interval.low, 100 * interval.high)


@dataclass(frozen=True)
class Agreement:
    """Agreement of annotators beyond chance; a figure is None where chance leaves it undefined."""

    observed: float
    """Share of agreeing pairs of annotators, over all images."""
    cohen: dict[str, dict[str, float | None]]
    """Kappa of each pair, by the names of both."""
    mean_cohen: float | None
    """Mean over the pairs that have one."""
    fleiss: float | None
    krippendorff: float | None
    """Alpha for nominal data."""


@dataclass(frozen=True, eq=False)
class Majority:
    """The class that most annotators chose: votes ``(N, K)`` and classes ``(N,)``."""

    votes: Labels
    labels: Labels
    """:data:`TIE` where several classes have the most votes."""

    @property
    def decided(self) -> NDArray[np.bool_]:
        """``(N,)`` whether an image has a majority class."""
        return np.not_equal(self.labels, TIE)


def cohen_kappa(first: Labels, second: Labels, classes: int) -> float | None:
    """Cohen's kappa of two raters ``(N,)``; None where both gave one class to all images.

    Source: J. Cohen, A coefficient of agreement for nominal scales, 1960.
    """
    if len(np.union1d(first, second)) == 1:
        return None
    kappa = float(cohen_kappa_score(first, second, labels=np.arange(classes)))
    return None if isnan(kappa) else kappa


def fleiss_kappa(votes: Labels) -> float | None:
    """Fleiss' kappa of votes ``(N, K)``; None where all votes are for one class.

    Source: J. L. Fleiss, Measuring nominal scale agreement among many raters, 1971.
    """
    images, raters = len(votes), int(votes[0].sum())
    observed = float(((votes * (votes - 1)).sum(1) / (raters * (raters - 1))).mean())
    shares = votes.sum(0) / (images * raters)
    expected = float((shares**2).sum())
    return None if expected == 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(labels: Labels, classes: int) -> float | None:
    """Krippendorff's alpha for nominal data; None where all labels are of one class.

    Source: K. Krippendorff, Content analysis, 2004.

    Raises:
        SettingsError: when the library is not installed.
    """
    library = optional_library("krippendorff", extra="study", use="Krippendorff's alpha needs")
    if len(np.unique(labels)) == 1:
        return None
    alpha = library.alpha(
        reliability_data=labels.T,
        value_domain=list(range(classes)),
        level_of_measurement="nominal",
    )
    return float(alpha)


def count_votes(labels: Labels, classes: int) -> Labels:
    """Votes ``(N, K)`` for each class."""
    votes: Labels = (labels[:, :, None] == np.arange(classes)).sum(1)
    return votes


def majority(labels: Labels, classes: int) -> Majority:
    """The class with the most votes of each image."""
    votes = count_votes(labels, classes)
    most = votes == votes.max(1, keepdims=True)
    return Majority(votes, np.where(most.sum(1) == 1, votes.argmax(1), TIE))


def agreement(labels: Labels, annotators: tuple[str, ...], classes: int) -> Agreement:
    """All figures of agreement of two annotators or more."""
    pairs = list(combinations(range(len(annotators)), 2))
    cohen: dict[str, dict[str, float | None]] = {}
    for i, j in pairs:
        kappa = cohen_kappa(labels[:, i], labels[:, j], classes)
        cohen.setdefault(annotators[i], {})[annotators[j]] = kappa
    defined = [k for others in cohen.values() for k in others.values() if k is not None]
    return Agreement(
        observed=float(np.mean([(labels[:, i] == labels[:, j]).mean() for i, j in pairs])),
        cohen=cohen,
        mean_cohen=float(np.mean(defined)) if defined else None,
        fleiss=fleiss_kappa(count_votes(labels, classes)),
        krippendorff=krippendorff_alpha(labels, classes),
    )


def counts_of_percentage(percentage: str, of: int) -> list[int]:
    """The counts whose share of ``of`` is a percentage as written, rounded or cut to its decimals.

    None if the percentage is no share of so many: it was not computed from them.

    Args:
        percentage: as printed, such as ``78.3``; its decimals say how it was rounded.

    Raises:
        SettingsError: when it is not a number from 0 to 100.
    """
    try:
        printed = Decimal(percentage.strip().removesuffix("%").strip())
    except InvalidOperation:
        printed = Decimal(-1)
    exponent = printed.as_tuple().exponent
    if not isinstance(exponent, int) or not 0 <= printed <= 100:
        raise SettingsError(
            f"percentages: must be numbers from 0 to 100 as they are printed, got {percentage!r}"
        )
    step = Decimal(1).scaleb(min(exponent, 0))
    return [
        count
        for count in range(of + 1)
        # |share - printed| <= step / 2, or cut off: printed <= share < printed + step
        if -step / 2 <= Decimal(100) * count / of - printed < step
    ]
