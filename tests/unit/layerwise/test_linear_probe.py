"""The probe: what it can and cannot read, and that only inner products matter."""

from __future__ import annotations

import numpy as np

from ier_ray.layerwise.pca import coordinates, gram_matrix
from ier_ray.layerwise.probe import probe_predictions

LABELS = np.repeat(np.arange(4), 25)


def test_it_reads_what_is_linear_and_nothing_from_noise() -> None:
    chance = np.random.default_rng(0)
    noise = chance.normal(size=(100, 300))
    apart = noise + 8 * np.eye(4, 300)[LABELS]
    for rows, low, high in ((apart, 0.95, 1.0), (noise, 0.1, 0.4)):
        found = probe_predictions(coordinates(gram_matrix(rows))[0], LABELS, seed=0)
        assert found is not None
        assert low <= (found == LABELS).mean() <= high


def test_a_rotation_changes_nothing() -> None:
    rows = np.random.default_rng(2).normal(size=(100, 20)) + np.eye(4, 20)[LABELS]
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(20, 20)))[0]
    first, second = (
        probe_predictions(coordinates(gram_matrix(given))[0], LABELS, seed=0)
        for given in (rows, rows @ rotation + 5)
    )
    np.testing.assert_array_equal(first, second)


def test_without_two_classes_of_two_images_there_is_no_probe() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 3))
    assert probe_predictions(rows, np.zeros(4, np.int64), seed=0) is None
    assert probe_predictions(rows, np.array([0, 0, 0, 1]), seed=0) is None
    assert probe_predictions(rows, np.array([0, 0, 2, 2]), seed=0) is not None


def test_a_constant_layer_is_predicted_without_an_error() -> None:
    found = probe_predictions(np.empty((100, 0)), LABELS, seed=0)
    assert found is not None
    assert (found == LABELS).mean() <= 0.3
