from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from ier_ray.errors import DataError
from ier_ray.evaluation.metrics import accuracy, log_loss
from ier_ray.evaluation.probe import REGULARIZATION, fit_probe


def clouds(rows: int, *, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Three Gaussian classes of six features, of very different scales and offsets."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=rows)
    centers = np.random.default_rng(0).normal(size=(3, 6))
    scales = np.array([1e-4, 1, 1e3, 1, 1, 1])
    return (centers[labels] + generator.normal(size=(rows, 6))) * scales + 5 * scales, labels


def test_it_is_the_minimum_of_the_penalized_loss() -> None:
    (features, labels), validation = clouds(200, seed=1), clouds(100, seed=2)
    probe = fit_probe(features, labels, *validation, classes=3, regularization=[0.5])
    standardized = (features - features.mean(0)) / features.std(0)
    weights, bias = probe.model[-1].coef_, probe.model[-1].intercept_
    expected = softmax(standardized @ weights.T + bias, axis=1)
    np.testing.assert_allclose(probe.probabilities(features), expected, atol=1e-12)
    # Gradient of C · (summed log loss) + |weights|² / 2, which is 0 at the minimum.
    residual = expected - np.eye(3)[labels]
    gradient = 0.5 * residual.T @ standardized + weights
    assert np.abs(gradient).max() < 0.02
    assert np.abs(0.5 * residual.sum(0)).max() < 0.02


def test_the_validation_images_choose_the_regularization() -> None:
    (features, labels), validation = clouds(30, seed=1), clouds(400, seed=2)
    probe = fit_probe(features, labels, *validation, classes=3)
    alone = {
        c: fit_probe(features, labels, *validation, classes=3, regularization=[c])
        for c in REGULARIZATION
    }
    losses = {c: log_loss(p.probabilities(validation[0]), validation[1]) for c, p in alone.items()}
    assert probe.validation_log_loss == losses
    assert probe.regularization == min(losses, key=lambda c: losses[c])
    assert probe.regularization not in (REGULARIZATION[0], REGULARIZATION[-1])
    assert accuracy(probe.probabilities(validation[0]), validation[1]) > 0.7


def test_labels_at_random_leave_it_at_chance() -> None:
    features, _ = clouds(600, seed=1)
    labels = np.random.default_rng(5).integers(3, size=600)
    train, val, test = slice(0, 200), slice(200, 300), slice(300, 600)
    probe = fit_probe(features[train], labels[train], features[val], labels[val], classes=3)
    assert abs(accuracy(probe.probabilities(features[test]), labels[test]) - 1 / 3) < 0.09


def test_a_class_without_training_images_has_probability_0() -> None:
    features, labels = clouds(100, seed=1)
    labels = labels + (labels > 0)  # 0, 2, 3 of five classes
    probabilities = fit_probe(features, labels, features, labels, classes=5).probabilities(features)
    assert probabilities.shape == (100, 5)
    assert not probabilities[:, [1, 4]].any()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    assert accuracy(probabilities, labels) > 0.7


def test_too_little_to_fit_is_an_error() -> None:
    features, labels = clouds(20, seed=1)
    with pytest.raises(DataError, match="got 1 classes and 20 validation images"):
        fit_probe(features, np.zeros(20, dtype=np.int64), features, labels, classes=3)
    with pytest.raises(DataError, match="got 3 classes and 0 validation images"):
        fit_probe(features, labels, features[:0], labels[:0], classes=3)
