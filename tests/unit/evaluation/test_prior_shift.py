from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from support.predictions import CLASSES, random_probabilities

from ier_ray.errors import DataError
from ier_ray.evaluation.metrics import log_loss
from ier_ray.evaluation.prior_shift import adjusted, prior_of, uniform_prior

TARGET = {"happy": 0.7, "sad": 0.2, "hate": 0.04, "anger": 0.06}


def posterior(points: np.ndarray, prior: dict[str, float]) -> np.ndarray:
    """Bayes' posterior of a mixture of four Gaussians in the plane."""
    centers = [(0, 0), (2, 0), (0, 2), (1, 1)]
    joint = np.stack(
        [
            weight * stats.multivariate_normal(center, 1 + 0.2 * index).pdf(points)
            for index, (center, weight) in enumerate(zip(centers, prior.values(), strict=True))
        ],
        axis=1,
    )
    return joint / joint.sum(1, keepdims=True)


def test_a_planted_shift_is_corrected_exactly() -> None:
    points = np.random.default_rng(0).normal(1, 1.5, size=(1000, 2))
    trained = {"happy": 0.25, "sad": 0.1, "hate": 0.4, "anger": 0.25}
    found = adjusted(posterior(points, trained), trained, TARGET)
    np.testing.assert_allclose(found, posterior(points, TARGET), rtol=0, atol=1e-12)


def test_equal_priors_change_nothing_and_adjusting_back_undoes() -> None:
    probabilities, labels = random_probabilities(200, seed=0)
    same = adjusted(probabilities, TARGET, TARGET)
    np.testing.assert_allclose(same, probabilities, atol=1e-15)
    there = adjusted(probabilities, uniform_prior(CLASSES), TARGET)
    back = adjusted(there, TARGET, uniform_prior(CLASSES))
    np.testing.assert_allclose(back, probabilities, atol=1e-14)
    assert log_loss(there, labels) != pytest.approx(log_loss(probabilities, labels), abs=1e-3)


def test_it_is_an_offset_of_the_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 4))
    offset = np.log(list(TARGET.values())) - np.log(0.25)

    def softmax(values: np.ndarray) -> np.ndarray:
        return np.exp(values) / np.exp(values).sum(1, keepdims=True)

    found = adjusted(softmax(logits), uniform_prior(CLASSES), TARGET)
    np.testing.assert_allclose(found, softmax(logits + offset), atol=1e-14)


def test_priors_by_hand() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2, 3, 3])
    assert list(prior_of(labels, CLASSES).items()) == [
        ("happy", 2 / 8),
        ("sad", 1 / 8),
        ("hate", 3 / 8),
        ("anger", 2 / 8),
    ]
    smoothed = prior_of(np.array([0, 0, 1]), CLASSES, smoothing=1)
    assert smoothed == pytest.approx({"happy": 3 / 7, "sad": 2 / 7, "hate": 1 / 7, "anger": 1 / 7})
    assert uniform_prior(CLASSES) == dict.fromkeys(CLASSES, 0.25)


def test_bad_priors_are_refused() -> None:
    probabilities, _ = random_probabilities(5, seed=0)
    uniform = uniform_prior(CLASSES)
    with pytest.raises(DataError, match=r"no image is of class hate, anger: .* smoothing=1"):
        prior_of(np.array([0, 1, 1]), CLASSES)
    for value in (0.0, -0.1, float("nan")):
        with pytest.raises(
            DataError, match=rf"target prior of class 'hate' must be > 0, got {value}"
        ):
            adjusted(probabilities, uniform, {**uniform, "hate": value})
    with pytest.raises(DataError, match=r"trained prior must sum to 1, got 1\.25"):
        adjusted(probabilities, {**uniform, "sad": 0.5}, uniform)
    with pytest.raises(DataError, match=r"must name the 4 classes in their order"):
        adjusted(probabilities, uniform, dict(reversed(uniform.items())))
    with pytest.raises(DataError, match=r"must name the 3 classes"):
        adjusted(probabilities[:, :3], uniform, uniform)
