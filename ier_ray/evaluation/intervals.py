"""Bootstrap intervals over groups: images of one group (a subject, a burst) are not independent.

Source: B. Efron and R. J. Tibshirani, An introduction to the bootstrap, 1993, chapter 13 (the
percentile interval); whole groups are resampled as in Davison and Hinkley, Bootstrap methods and
their application, 1997, section 3.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ier_ray.errors import DataError
from ier_ray.evaluation.matching import matched
from ier_ray.evaluation.metrics import ConfusionMetric, Floats, Metric, confusion_matrix
from ier_ray.evaluation.predictions import Predictions

RESAMPLES = 2000
LEVEL = 0.95
CHUNK_ENTRIES = 2**22
"""Numbers held at a time: resamples are drawn in chunks."""


@dataclass(frozen=True)
class Interval:
    """A figure and its confidence interval."""

    estimate: float
    """The figure on all images."""
    low: float
    high: float
    level: float
    """Nominal coverage, e.g. 0.95."""


def wilson_interval(count: int, of: int, *, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a share of independent images.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 1927.

    Args:
        count: images of which something is true.
        of: all images, at least one.
    """
    found = stats.binomtest(count, of).proportion_ci(level, method="wilson")
    return Interval(count / of, float(found.low), float(found.high), level)


def bootstrap_interval(
    metric: Metric,
    probabilities: Floats,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of a metric: groups are drawn with replacement, with all their images.

    The order of rows does not change the result.

    Args:
        metric: a :class:`ConfusionMetric` is computed for all resamples at once, any other
            function once per resample.
        probabilities: ``(N, K)``.
        labels: ``(N,)``.
        groups: ``(N,)``, the group of each image.

    Raises:
        DataError: when there are fewer than two groups.
    """
    members, count = _numbered(groups)
    values = np.concatenate(
        [
            _replicates(metric, probabilities, labels, members, drawn)
            for drawn in _draws(count, seed=seed, resamples=resamples)
        ]
    )
    return _percentiles(metric(probabilities, labels), values, level)


def paired_difference(
    metric: Metric,
    first: Predictions,
    second: Predictions,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of ``metric(first) - metric(second)``, two models on the same images.

    Both models are measured on the same resampled groups, so what is common to both cancels.

    Raises:
        DataError: when the images differ (:func:`~ier_ray.evaluation.matching.matched`), or there
            are fewer than two groups.
    """
    first, second = matched(first, second)
    members, count = _numbered(first.groups)
    values = np.concatenate(
        [
            _replicates(metric, first.probabilities, first.labels, members, drawn)
            - _replicates(metric, second.probabilities, second.labels, members, drawn)
            for drawn in _draws(count, seed=seed, resamples=resamples)
        ]
    )
    estimate = metric(first.probabilities, first.labels) - metric(
        second.probabilities, second.labels
    )
    return _percentiles(estimate, values, level)


def bootstrap_class_intervals(
    of: Callable[[Floats], Floats],
    predictions: Predictions,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> list[Interval]:
    """Percentile intervals of a figure of each class, all from the same resampled groups.

    Resamples without an image of a class leave it out of that class's interval; a class that does
    not occur has the interval of its value.

    Args:
        of: from confusion matrices ``(..., K, K)`` to values ``(..., K)``.

    Raises:
        DataError: when there are fewer than two groups.
    """
    members, count = _numbered(predictions.groups)
    probabilities, labels = predictions.probabilities, predictions.labels
    confusions = np.concatenate(
        [
            _confusions(probabilities, labels, members, drawn)
            for drawn in _draws(count, seed=seed, resamples=resamples)
        ]
    )
    estimates = of(confusion_matrix(probabilities, labels).astype(np.float64))
    values, occurs = of(confusions), confusions.sum(-1) > 0
    return [
        _percentiles(
            float(estimate),
            values[occurs[:, number], number] if occurs[:, number].any() else estimates[[number]],
            level,
        )
        for number, estimate in enumerate(estimates)
    ]


def _numbered(groups: NDArray[np.str_]) -> tuple[NDArray[np.int64], int]:
    """The group's number of each image, and the number of groups."""
    names, members = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"an interval needs two groups or more, but all {len(groups)} images are of "
            f"{len(names)}: nothing is known of how groups vary"
        )
    return members.astype(np.int64), len(names)


def _draws(groups: int, *, seed: int, resamples: int) -> Iterator[NDArray[np.int64]]:
    """How often each group is drawn: ``(resamples, groups)`` in chunks of rows."""
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK_ENTRIES // groups)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = generator.integers(groups, size=(rows, groups)) + np.arange(rows)[:, None] * groups
        yield np.bincount(drawn.reshape(-1), minlength=rows * groups).reshape(rows, groups)


def _replicates(
    metric: Metric,
    probabilities: Floats,
    labels: NDArray[np.int64],
    members: NDArray[np.int64],
    drawn: NDArray[np.int64],
) -> Floats:
    """The metric of each resample ``(R,)``; ``drawn`` is ``(R, groups)``."""
    if isinstance(metric, ConfusionMetric):
        return metric.of(_confusions(probabilities, labels, members, drawn))
    copies = (np.repeat(np.arange(len(labels)), times[members]) for times in drawn)
    return np.asarray([metric(probabilities[rows], labels[rows]) for rows in copies])


def _confusions(
    probabilities: Floats,
    labels: NDArray[np.int64],
    members: NDArray[np.int64],
    drawn: NDArray[np.int64],
) -> Floats:
    """The confusion matrix of each resample ``(R, K, K)``; ``drawn`` is ``(R, groups)``."""
    classes, groups = probabilities.shape[1], drawn.shape[1]
    cells = labels * classes + probabilities.argmax(1)
    counts = np.bincount(members * classes**2 + cells, minlength=groups * classes**2)
    summed = drawn.astype(np.float64) @ counts.reshape(groups, -1).astype(np.float64)
    return summed.reshape(-1, classes, classes)


def _percentiles(estimate: float, values: Floats, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level)
