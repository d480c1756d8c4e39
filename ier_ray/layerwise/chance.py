"""What intersection scores would be if the classes meant nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ier_ray.layerwise.intersections import Spread, class_ranges, intersections, mean_intersection
from ier_ray.layerwise.pca import Floats

SHUFFLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Chance:
    """Intervals of the scores with shuffled labels; a score below its interval is evidence.

    Classes that are the same do not have the score 1: with few images their ranges differ by
    chance. The expectation is 0.45 at 14 images a class, 0.75 at 100, 0.91 at 1000.

    Attributes:
        low, high: ``(K, K)`` ends of the interval of each pair.
        mean_low, mean_high: those of the mean over all pairs.
        mean: expectation of that mean.
    """

    low: Floats
    high: Floats
    mean_low: float
    mean_high: float
    mean: float


def chance_intersections(
    scores: Floats,
    labels: NDArray[np.int64],
    classes: int,
    *,
    seed: int,
    shuffles: int = SHUFFLES,
    spread: Spread = "deviation",
) -> Chance:
    """Permutation intervals of :func:`intersections` and of their mean.

    The components do not depend on the labels, so only the ranges are computed anew.
    """
    generator = np.random.default_rng(seed)
    found, means = np.empty((shuffles, classes, classes)), np.empty(shuffles)
    for index in range(shuffles):
        ranges = class_ranges(scores, generator.permutation(labels), classes, spread=spread)
        found[index] = intersections(ranges)
        means[index] = mean_intersection(found[index], ranges.counts)
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(found, (outside, 1 - outside), axis=0)
    mean_low, mean_high = np.quantile(means, (outside, 1 - outside))
    return Chance(low, high, float(mean_low), float(mean_high), float(means.mean()))
