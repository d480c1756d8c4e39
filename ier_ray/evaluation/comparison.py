"""Models compared on the same images: the difference with its interval, then the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from ier_ray.errors import DataError
from ier_ray.evaluation.intervals import RESAMPLES, Interval, paired_difference
from ier_ray.evaluation.matching import matched
from ier_ray.evaluation.metrics import accuracy, balanced_accuracy
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.significance import McNemar, holm, mcnemar


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images."""

    first: str
    second: str
    images: int
    accuracy: Interval
    """Accuracy of the first less that of the second, with its paired bootstrap interval over
    groups."""
    balanced_accuracy: Interval
    """The same of the balanced accuracy."""
    test: McNemar
    adjusted_p_value: float
    """Of the test, by Holm's correction over the comparisons made together."""


def compared(
    models: Mapping[str, Predictions], *, seed: int = 0, resamples: int = RESAMPLES
) -> list[Comparison]:
    """Each pair of models, by McNemar's exact test; p-values are corrected over all pairs.

    Args:
        models: by their names, predictions of the same images, each image once.

    Raises:
        DataError: naming the two models, when their images, labels or groups differ.
    """
    found = [
        _pair(first, second, models, seed=seed, resamples=resamples)
        for first, second in combinations(models, 2)
    ]
    corrected = holm([one.test.p_value for one in found])
    return [
        replace(one, adjusted_p_value=value) for one, value in zip(found, corrected, strict=True)
    ]


def _pair(
    first: str, second: str, models: Mapping[str, Predictions], *, seed: int, resamples: int
) -> Comparison:
    try:
        one, other = matched(models[first], models[second])
        differences = [
            paired_difference(metric, one, other, seed=seed, resamples=resamples)
            for metric in (accuracy, balanced_accuracy)
        ]
    except DataError as error:
        raise DataError(f"{first} and {second} cannot be compared: {error}") from error
    test = mcnemar(*(own.probabilities.argmax(1) == own.labels for own in (one, other)))
    return Comparison(first, second, len(one), differences[0], differences[1], test, test.p_value)
