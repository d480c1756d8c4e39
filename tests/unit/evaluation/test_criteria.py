"""Label-free criteria against closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from ier_ray.evaluation import criteria

CERTAIN = 60.0
"""A logit difference at which the probabilities are 0 and 1 to double precision."""
K = 4

Criterion = Callable[[NDArray[np.float64]], float]
ALL: list[Criterion] = [
    criteria.negative_entropy,
    criteria.mutual_information,
    criteria.nuclear_norm,
    criteria.soft_neighborhood_density,
]


def one_hot(classes: list[int]) -> NDArray[np.float64]:
    return CERTAIN * np.eye(K)[classes]


BALANCED, COLLAPSED = one_hot([0, 1, 2, 3] * 5), one_hot([0] * 20)
UNDECIDED = np.zeros((20, K))


@pytest.mark.parametrize(
    ("criterion", "balanced", "collapsed", "undecided"),
    [
        (criteria.negative_entropy, 0, 0, -np.log(K)),
        (criteria.mutual_information, np.log(K), 0, 0),
        # singular values: K times √(N/K); once √N; once √N/√K
        (criteria.nuclear_norm, 1, 1 / np.sqrt(K), 1 / K),
    ],
)
def test_closed_forms(
    criterion: Criterion, balanced: float, collapsed: float, undecided: float
) -> None:
    assert criterion(BALANCED) == pytest.approx(balanced, abs=1e-12)
    assert criterion(COLLAPSED) == pytest.approx(collapsed, abs=1e-12)
    assert criterion(UNDECIDED) == pytest.approx(undecided, abs=1e-12)


def test_neighborhood_of_equal_images_is_everybody_else() -> None:
    assert criteria.soft_neighborhood_density(COLLAPSED) == pytest.approx(np.log(19), abs=1e-9)
    assert criteria.soft_neighborhood_density(UNDECIDED) == pytest.approx(np.log(19), abs=1e-9)


def test_an_image_alone_has_no_neighbor() -> None:
    assert criteria.soft_neighborhood_density(BALANCED[:1]) == 0


def test_neighborhood_of_clusters_by_hand() -> None:
    # Each of 20 images has 4 neighbors at cosine 1 and 15 at cosine 0.
    near, far = np.exp(1 / criteria.TEMPERATURE), 1.0
    total = 4 * near + 15 * far
    shares = np.array([near] * 4 + [far] * 15) / total
    expected = -(shares * np.log(shares)).sum()
    assert criteria.soft_neighborhood_density(BALANCED) == pytest.approx(expected, abs=1e-9)


def test_neighborhood_is_bounded_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(criteria, "MOST_NEIGHBORS", 10)
    assert criteria.soft_neighborhood_density(COLLAPSED) == pytest.approx(np.log(9), abs=1e-9)


@pytest.mark.parametrize("criterion", ALL)
def test_order_of_images_and_classes_does_not_matter(criterion: Criterion) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(50, K)) * 3
    shuffled = logits[generator.permutation(50)][:, generator.permutation(K)]
    assert criterion(shuffled) == pytest.approx(criterion(logits), abs=1e-12)
    assert criterion(logits + generator.normal(size=(50, 1))) == pytest.approx(
        criterion(logits), abs=1e-12
    )
