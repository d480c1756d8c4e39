"""Tests of whether one model is better than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ier_ray.errors import DataError
from ier_ray.evaluation.intervals import LEVEL, Interval


@dataclass(frozen=True)
class McNemar:
    """How often exactly one of two models is right, and the test that both are equally often."""

    only_first: int
    """Images that the first model alone classifies correctly."""
    only_second: int
    """Images that the second model alone classifies correctly."""
    p_value: float
    """Two-sided; exact."""


@dataclass(frozen=True)
class MeanDifference:
    """A mean difference over folds and seeds, and its test against 0."""

    interval: Interval
    """The mean difference and its confidence interval."""
    t: float | None
    """The corrected t statistic; None where all differences are equal."""
    degrees_of_freedom: int
    p_value: float
    """Two-sided."""


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """McNemar's test with the exact binomial distribution.

    It assumes independent images; where groups are large, read
    :func:`ier_ray.evaluation.intervals.paired_difference` instead.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions
    or percentages, Psychometrika 1947.

    Args:
        first, second: ``(N,)`` whether each model is right about each image, in one order.
    """
    if first.shape != second.shape:
        raise DataError(f"the models have {len(first)} and {len(second)} images; match them first")
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    discordant = only_first + only_second
    p_value = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    return McNemar(only_first, only_second, float(p_value))


def corrected_resampled_t_test(
    differences: Sequence[float], *, test_share: float, level: float = LEVEL
) -> MeanDifference:
    """Corrected resampled t-test: training sets of different folds and seeds overlap.

    The variance of the mean of J differences is taken as ``(1/J + n_test/n_train) s^2``, in which
    ``s^2`` is their sample variance; t has J - 1 degrees of freedom.

    Source: C. Nadeau and Y. Bengio, Inference for the generalization error, Machine Learning 2003;
    for repeated cross-validation: Bouckaert and Frank, PAKDD 2004.

    Args:
        differences: of a metric between two models, one per fold and seed.
        test_share: ``n_test / n_train``; 1 / (k - 1) in k-fold cross-validation without a
            validation part.

    Raises:
        DataError: when there are fewer than two differences, or ``test_share`` is not positive.
    """
    mean, error, freedom = corrected_mean(differences, test_share, test="a t-test")
    if error == 0:
        level_interval = Interval(mean, mean, mean, level)
        return MeanDifference(level_interval, None, freedom, 1.0 if mean == 0 else 0.0)
    margin = error * float(stats.t.ppf((1 + level) / 2, freedom))
    statistic = mean / error
    return MeanDifference(
        interval=Interval(mean, mean - margin, mean + margin, level),
        t=statistic,
        degrees_of_freedom=freedom,
        p_value=float(2 * stats.t.sf(abs(statistic), freedom)),
    )


def corrected_mean(
    differences: Sequence[float], test_share: float, *, test: str
) -> tuple[float, float, int]:
    """Mean of differences, its standard error corrected for resampling, and degrees of freedom.

    The error is 0 where all differences are the same.

    Args:
        differences: of a metric between two models, one per fold and seed.
        test_share: ``n_test / n_train``.
        test: which needs them, for errors.

    Raises:
        DataError: when there are fewer than two differences, or ``test_share`` is not positive.
    """
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    if count < 2:
        raise DataError(f"{test} needs two differences or more, got {count}")
    if not test_share > 0:
        raise DataError(f"test_share is n_test / n_train and must be > 0, got {test_share}")
    variance = 0.0 if np.ptp(values) == 0 else values.var(ddof=1)
    return float(values.mean()), float(np.sqrt((1 / count + test_share) * variance)), count - 1


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family of tests, in the given order.

    Rejecting those of at most α bounds the probability of any false rejection by α.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal
    of Statistics 1979.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]
