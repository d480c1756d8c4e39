"""What scores are without any meaning of the classes: against theory, and what an effect shows."""

from __future__ import annotations

import numpy as np
import pytest

from ier_ray.layerwise.chance import chance_intersections
from ier_ray.layerwise.intersections import class_ranges, intersections, mean_intersection

TRIALS = 60


def same(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two classes that are the same Gaussian, and their labels."""
    return np.random.default_rng(seed).normal(size=(2 * count, 3)), np.repeat([0, 1], count)


@pytest.mark.parametrize(("count", "expected"), [(14, 0.45), (100, 0.75)])
def test_classes_that_are_the_same_are_within_the_interval(count: int, expected: float) -> None:
    inside, means = 0, []
    for seed in range(TRIALS):
        scores, labels = same(seed, count)
        chance = chance_intersections(scores, labels, 2, seed=seed, shuffles=200)
        found = intersections(class_ranges(scores, labels, 2))[0, 1]
        inside += chance.low[0, 1] <= found <= chance.high[0, 1]
        means.append(chance.mean)
        assert (chance.mean_low, chance.mean_high) == (chance.low[0, 1], chance.high[0, 1])
    assert np.mean(means) == pytest.approx(expected, abs=0.02)
    assert inside >= TRIALS - 8  # 0.95 of 60; fewer than 52 have a probability below 0.01


def test_classes_that_differ_are_below_the_interval() -> None:
    scores, labels = same(0, 30)
    scores[labels == 1, 0] += 1.5
    chance = chance_intersections(scores, labels, 2, seed=0, shuffles=200)
    assert intersections(class_ranges(scores, labels, 2))[0, 1] < chance.low[0, 1]


def test_the_seed_decides_and_classes_without_images_have_no_interval() -> None:
    scores, labels = same(0, 10)
    first, again, other = (
        chance_intersections(scores, labels, 3, seed=seed, shuffles=50) for seed in (1, 1, 2)
    )
    assert first.mean == again.mean != other.mean
    assert np.isnan(first.low[2]).all()
    found = class_ranges(scores, labels, 3)
    assert not np.isnan(mean_intersection(intersections(found), found.counts))
    assert not np.isnan(first.mean_low)
