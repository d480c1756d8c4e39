"""Intersection scores: worked by hand, laws, and what has no score."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ier_ray.layerwise.intersections import (
    Spread,
    class_ranges,
    component_intersections,
    intersections,
    mean_intersection,
)
from ier_ray.layerwise.pca import Floats, coordinates, gram_matrix, principal_components
from ier_ray.layerwise.separation import Separation

SCORES = np.array([[1, 1, 1], [-1, -1, -1], [1, -1, 1], [5, 1, 3.0]])
PAIR = np.array([0, 0, 1, 1])

CLOUD = np.array(
    [
        [-4, -1, 0.5],
        [-4, 1, -0.5],
        [-2, -1, -0.5],
        [-2, 1, 0.5],
        [-2, -1, 1],
        [-2, 1, -1],
        [2, -1, -1],
        [2, 1, 1],
    ]
)
CLOUD_LABELS = np.array([0] * 4 + [1] * 4)


def pair_score(scores: Floats, labels: np.ndarray, spread: Spread = "deviation") -> float:
    found = intersections(class_ranges(scores, labels, 2, spread=spread))
    assert found[0, 1] == found[1, 0]
    assert found.diagonal().tolist() == [1, 1]
    return float(found[0, 1])


def test_given_scores_by_hand() -> None:
    ranges = class_ranges(SCORES, PAIR, 2)
    assert ranges.low.tolist() == [[-2, -2, -2], [-1, -2, 0]]
    assert ranges.high.tolist() == [[2, 2, 2], [7, 2, 4]]
    assert component_intersections(ranges)[0, 1] == pytest.approx([3 / 9, 1, 2 / 6])
    assert pair_score(SCORES, PAIR) == pytest.approx(1 / 9)


@pytest.mark.parametrize(("factor", "by_variance"), [(1, 1 / 12), (0.1, 0.0), (10, 0.226)])
def test_only_with_the_variance_as_printed_does_the_unit_matter(
    factor: float, by_variance: float
) -> None:
    assert pair_score(SCORES * factor, PAIR) == pytest.approx(1 / 9)
    found = pair_score(SCORES * factor, PAIR, "variance")
    assert found == pytest.approx(by_variance, abs=5e-4)


def test_a_cloud_through_the_components_by_hand() -> None:
    padded = np.pad(CLOUD, ((0, 0), (0, 2)))
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(5, 5)))[0]
    gram = gram_matrix(padded @ rotation + [3, -1, 4, 1, -5])
    components = principal_components(*coordinates(gram))
    assert components.eigenvalues == pytest.approx([4.75, 1, 0.625])
    ranges = class_ranges(components.scores, CLOUD_LABELS, 2)
    assert component_intersections(ranges)[0, 1] == pytest.approx([1 / 3, 1, 1 / 2])
    assert pair_score(components.scores, CLOUD_LABELS) == pytest.approx(1 / 6)
    assert pair_score(components.scores, CLOUD_LABELS, "variance") == pytest.approx(1 / 16)
    apart = Separation.of_gram(gram, CLOUD_LABELS, 2)
    assert apart.distances[0, 1] == pytest.approx(3)
    assert apart.variances == pytest.approx([2.25, 6])
    assert apart.separations[0, 1] == pytest.approx(1.4771, abs=5e-5)


@pytest.mark.parametrize(("apart", "expected"), [(1, 0.6), (2, 1 / 3), (3, 1 / 7), (4, 0)])
def test_equal_spreads_some_deviations_apart(apart: float, expected: float) -> None:
    own = np.array([[-1.0], [1.0]])  # mean 0, deviation 1
    found = pair_score(np.concatenate([own, own + apart]), PAIR)
    assert found == pytest.approx(expected) == pytest.approx((4 - apart) / (4 + apart))


def test_ranges_without_width() -> None:
    points = np.array([[1.0], [1.0], [1.0], [1.0], [2.0], [2.0]])
    found = intersections(class_ranges(points, np.array([0, 0, 1, 1, 2, 2]), 3))
    assert found.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_a_constant_layer_has_no_components_and_its_classes_coincide() -> None:
    assert intersections(class_ranges(np.empty((4, 0)), PAIR, 2)).tolist() == [[1, 1], [1, 1]]


def test_a_class_without_images_has_no_score() -> None:
    ranges = class_ranges(SCORES, np.array([0, 0, 2, 2]), 3)
    found = intersections(ranges)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 1]).all()
    assert found[0, 2] == pytest.approx(1 / 9)
    assert mean_intersection(found, ranges.counts) == pytest.approx(1 / 9)


def test_a_class_of_one_image_is_computed_and_not_averaged() -> None:
    ranges = class_ranges(SCORES[:3], np.array([0, 0, 1]), 2)
    found = intersections(ranges)
    assert found[0, 1] == 0  # a point within a range covers nothing of it
    assert math.isnan(mean_intersection(found, ranges.counts))


def test_the_mean_is_over_pairs_of_different_classes() -> None:
    found = np.array([[1, 0.2, 0.4], [0.2, 1, 0.9], [0.4, 0.9, 1]])
    assert mean_intersection(found, np.array([2, 2, 2])) == pytest.approx(0.5)
