"""Fidelity metrics on games and masks whose scores are known by hand, and beside captum's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity

from ier_ray.explain.metrics import (
    area_under,
    deletion_curve,
    infidelity,
    insertion_curve,
    instability,
    pointing_game,
    positive_mass_inside,
)
from ier_ray.explain.shapley import Coalitions
from ier_ray.explain.shapley.exact import exact_shapley

WEIGHTS = np.array([1.0, 4.0, 0.0, 3.0])


def linear(shown: Coalitions) -> np.ndarray:
    return np.stack([shown @ WEIGHTS, 2 - shown @ WEIGHTS], axis=1)


def test_exact_values_of_additive_games_are_the_weights() -> None:
    np.testing.assert_allclose(exact_shapley(linear, 4), np.stack([WEIGHTS, -WEIGHTS], 1))


def test_exact_values_share_an_interaction_equally() -> None:
    """v = 6 when regions 0, 1 and 2 all show: 2 each; a pair's 4 is 2 each; region 3: nothing."""

    def game(shown: Coalitions) -> np.ndarray:
        return np.stack([6.0 * shown[:, :3].all(1), 4.0 * shown[:, 1:3].all(1)], axis=1)

    found = exact_shapley(game, 4)
    np.testing.assert_allclose(found, [[2, 0], [2, 2], [2, 2], [0, 0]], atol=1e-12)


def test_exact_values_equal_the_mean_over_all_orders() -> None:
    table = np.random.default_rng(0).normal(size=(8, 1))
    found = exact_shapley(lambda shown: table[shown @ (1 << np.arange(3))], 3)[:, 0]
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    expected = np.zeros(3)
    for order in orders:
        row = 0
        for region in order:
            expected[region] += (table[row | 1 << region, 0] - table[row, 0]) / len(orders)
            row |= 1 << region
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_exact_values_end_at_twenty_regions() -> None:
    with pytest.raises(ValueError, match="1 to 20 players, got 21"):
        exact_shapley(linear, 21)


def test_insertion_and_deletion_of_a_linear_game_by_hand() -> None:
    """Order 1, 3, 0, 2: 0 4 7 8 8 and 8 4 1 0 0; trapezoids over quarters."""
    inserted, deleted = (f(linear, WEIGHTS, 0) for f in (insertion_curve, deletion_curve))
    assert inserted.tolist() == [0, 4, 7, 8, 8]
    assert deleted.tolist() == [8, 4, 1, 0, 0]
    assert area_under(inserted) == pytest.approx((2 + 5.5 + 7.5 + 8) / 4)
    assert area_under(deleted) == pytest.approx((6 + 2.5 + 0.5 + 0) / 4)


def test_no_order_of_a_linear_game_beats_its_weights() -> None:
    best = area_under(insertion_curve(linear, WEIGHTS, 0))
    lowest = area_under(deletion_curve(linear, WEIGHTS, 0))
    for seed in range(20):
        values = np.random.default_rng(seed).normal(size=4)
        assert area_under(insertion_curve(linear, values, 0)) <= best
        assert area_under(deletion_curve(linear, values, 0)) >= lowest


def test_equal_values_appear_in_the_regions_order() -> None:
    assert insertion_curve(linear, np.zeros(4), 0).tolist() == [0, 1, 5, 5, 8]


def test_infidelity_of_a_linear_game() -> None:
    """0 for its weights; with region 1 overrated by 0.5, 0.25 wherever it vanishes."""
    hidden = np.array([[True, False, False, True], [False, True, False, False]])
    assert infidelity(linear, WEIGHTS, hidden, 0) == pytest.approx(0)
    overrated = WEIGHTS + np.array([0, 0.5, 0, 0])
    assert infidelity(linear, overrated, hidden, 0) == pytest.approx(0.125)


def test_infidelity_equals_captums() -> None:
    generator = np.random.default_rng(1)
    hidden = generator.random((30, 4)) < 0.5
    values = generator.normal(size=4)

    def game(shown: Coalitions) -> np.ndarray:
        return np.tanh(shown @ WEIGHTS - 3)[:, None]

    def perturb(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        vanished = torch.from_numpy(hidden).double()
        return vanished, inputs - vanished

    theirs = captum_infidelity(
        lambda features: torch.from_numpy(game(features.numpy() > 0.5)[:, 0]),
        perturb,
        torch.ones(1, 4, dtype=torch.double),
        torch.from_numpy(values)[None],
        n_perturb_samples=30,
    )
    assert infidelity(game, values, hidden, 0) == pytest.approx(theirs.item(), abs=1e-12)


def test_pointing_game() -> None:
    density = np.array([[0.0, 3.0], [3.0, 1.0]])
    right, bottom = np.array([[False, True], [False, True]]), np.array([[False] * 2, [True] * 2])
    assert pointing_game(density, right) == 0.5
    assert pointing_game(density - np.array([[0, 0], [1, 0]]), right) == 1
    assert pointing_game(density - np.array([[0, 1], [0, 0]]), right) == 0
    assert pointing_game(density, right | bottom) == 1
    assert positive_mass_inside(density, bottom) == pytest.approx(4 / 7)


def test_instability() -> None:
    image = torch.ones(1, 2, 2)

    def measured(attribute: Callable[[torch.Tensor], np.ndarray]) -> float:
        generator = torch.Generator().manual_seed(0)
        return instability(attribute, image, radius=0.1, samples=5, generator=generator)

    assert measured(lambda _: np.ones(3)) == 0
    assert 0 < measured(lambda seen: seen.numpy()) <= 0.1
    once = measured(lambda seen: seen.numpy())
    assert measured(lambda seen: 5 * seen.numpy()) == pytest.approx(once, rel=1e-5)
    with pytest.raises(ValueError, match="attribution of the image is zero"):
        measured(lambda _: np.zeros(3))
