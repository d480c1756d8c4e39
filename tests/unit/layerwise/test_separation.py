"""Separation: from the Gram matrix and from blocks as from the embeddings themselves."""

from __future__ import annotations

import numpy as np
import pytest

from ier_ray.layerwise.pca import gram_matrix
from ier_ray.layerwise.separation import Separation

LABELS = np.array([0, 2, 1, 0, 2, 2, 0, 1, 2])


def test_both_ways_are_what_the_embeddings_say() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 40)) + 100
    means = [rows[label == LABELS].mean(0) for label in range(3)]
    variances = [
        np.square(rows[label == LABELS] - mean).sum(1).mean() for label, mean in enumerate(means)
    ]
    for found in (
        Separation.of_gram(gram_matrix(rows), LABELS, 3),
        Separation.of_blocks(lambda: (rows[:4], rows[4:]), LABELS, 3),
    ):
        assert found.variances == pytest.approx(variances)
        for i in range(3):
            for j in range(3):
                distance = np.linalg.norm(means[i] - means[j])
                assert found.distances[i, j] == pytest.approx(distance, abs=1e-6)
                spread = np.sqrt((variances[i] + variances[j]) / 2)
                assert found.separations[i, j] == pytest.approx(distance / spread, abs=1e-6)


def test_classes_without_spread_or_without_images() -> None:
    rows = np.array([[0.0, 0], [0, 0], [3, 4], [3, 4]])
    found = Separation.of_gram(gram_matrix(rows), np.array([0, 0, 2, 2]), 3)
    assert found.distances[0, 2] == pytest.approx(5)
    assert found.separations[0, 2] == np.inf
    assert found.separations[0, 0] == 0
    assert np.isnan(found.distances[1]).all()
    assert np.isnan(found.separations[:, 1]).all()
    assert np.isnan(found.variances[1])


def test_there_must_be_embeddings() -> None:
    with pytest.raises(ValueError, match="no embeddings"):
        Separation.of_blocks(lambda: (), LABELS, 3)
