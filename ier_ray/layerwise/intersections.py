"""Intersection scores: how much the ranges of two classes' components overlap (Eq. 10 to 13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ier_ray.layerwise.pca import Floats

Spread = Literal["deviation", "variance"]
"""What Eq. 10 calls the standard deviation: its root, or the variance, as it is printed. Only with
the root does the score not depend on the unit of the embeddings."""
REACH = 2.0
"""Spreads from the mean to either end of a range (Eq. 11)."""


@dataclass(frozen=True, eq=False)
class Ranges:
    """Where the scores of K classes lie on C components.

    Attributes:
        counts: ``(K,)`` images of each class.
        low, high: ``(K, C)`` ends of the ranges; NaN for a class without images.
    """

    counts: NDArray[np.int64]
    low: Floats
    high: Floats


def class_ranges(
    scores: Floats, labels: NDArray[np.int64], classes: int, *, spread: Spread = "deviation"
) -> Ranges:
    """The ranges ``mean ± 2 spreads`` of each class's scores (Eq. 10, 11; divisor n).

    Args:
        scores: ``(N, C)``.
        labels: ``(N,)`` class indices.
    """
    counts = np.bincount(labels, minlength=classes)
    low, high = np.full((2, classes, scores.shape[1]), np.nan)
    for label in np.flatnonzero(counts):
        own = scores[labels == label]
        width = REACH * (own.std(0) if spread == "deviation" else own.var(0))
        low[label], high[label] = own.mean(0) - width, own.mean(0) + width
    return Ranges(counts, low, high)


def component_intersections(ranges: Ranges) -> Floats:
    """The common part of two classes' ranges, as a part of what both cover: ``(K, K, C)`` (Eq. 12).

    Two ranges without width: 1 where they are the same point, else 0.
    """
    low, high = ranges.low[:, None], ranges.high[:, None]
    common = np.minimum(high, ranges.high) - np.maximum(low, ranges.low)
    covered = np.maximum(high, ranges.high) - np.minimum(low, ranges.low)
    point = covered == 0
    found: Floats = np.where(point, 1.0, np.maximum(common, 0.0) / np.where(point, 1.0, covered))
    return found


def intersections(ranges: Ranges) -> Floats:
    """The products over the components: ``(K, K)`` (Eq. 13); NaN for a class without images.

    A layer without components is constant: its classes coincide, and all is 1.
    """
    found: Floats = component_intersections(ranges).prod(2)
    absent = ranges.counts == 0
    found[absent], found[:, absent] = np.nan, np.nan
    return found


def mean_intersection(found: Floats, counts: NDArray[np.int64]) -> float:
    """The mean over pairs of different classes; NaN if there is none.

    A class of one image has ranges without width, which say nothing: it is left out.
    """
    several = counts > 1
    pairs = np.triu(several[:, None] & several, 1)
    return float(found[pairs].mean()) if pairs.any() else float("nan")
