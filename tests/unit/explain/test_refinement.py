"""Refinement on games whose Shapley values are known, and the laws it keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ier_ray.explain import AnytimeExplainer, DenseEvaluator, RegionTree, explain
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.masking import RegionMasking
from ier_ray.explain.refinement import GameEvaluator, region_game, region_map, tree_coalitions
from ier_ray.explain.shapley import (
    Coalitions,
    Game,
    estimate_shapley,
    every_coalition,
    exact_shapley,
)
from ier_ray.explain.shapley.design import best_pairs, draw_pairs, pair_keys
from ier_ray.explain.shapley.kernel import OddKernel


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def saturating(regions: int, seed: int) -> Game:
    weights = generator(seed).normal(size=(regions, 2)) / np.sqrt(regions)
    return lambda shown: np.tanh(2 * shown @ weights + 0.3) * (1 + shown.mean(1, keepdims=True))


def counted(game: Game) -> tuple[Game, list[bytes]]:
    seen: list[bytes] = []

    def play(coalitions: Coalitions) -> np.ndarray:
        seen.extend(row.tobytes() for row in coalitions)
        return game(coalitions)

    return play, seen


def error(values: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(values - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("regions", [1, 2, 3, 7, 16, 40])
def test_values_sum_to_the_whole_at_every_budget(regions: int) -> None:
    game = saturating(regions, seed=regions)
    nobody, everybody = np.zeros((1, regions), dtype=bool), np.ones((1, regions), dtype=bool)
    total = (game(everybody) - game(nobody))[0]
    for budget in (2, 5, 2 * regions, 4 * regions, 8 * regions):
        found = estimate_shapley(game, regions, budget=max(budget, 2), generator=generator())
        np.testing.assert_allclose(found.values.sum(0), total, atol=1e-12)
        np.testing.assert_allclose(found.full - found.empty, total, atol=1e-12)


@pytest.mark.parametrize("budget", [2, 9, 33, 64, 200])
def test_no_budget_is_exceeded_and_nothing_scored_twice(budget: int) -> None:
    play, seen = counted(saturating(16, seed=0))
    found = estimate_shapley(play, 16, budget=budget, generator=generator())
    assert found.evaluations == len(seen) == len(set(seen)) == budget // 2 * 2
    if budget >= 60:
        play, seen = counted(saturating(16, seed=0))
        AnytimeExplainer(depth=4, budget=budget).explain(
            GameEvaluator(play, RegionTree.halving(4, 4, depth=4))
        )
        assert len(seen) == len(set(seen)) == budget


@pytest.mark.parametrize("regions", [1, 2, 3, 8])
def test_every_coalition_gives_exact_values(regions: int) -> None:
    game = saturating(regions, seed=3)
    found = estimate_shapley(game, regions, budget=2**regions, generator=generator())
    np.testing.assert_allclose(found.values, exact_shapley(game, regions), atol=1e-12)
    assert found.evaluations == 2**regions
    assert not found.deviations.any()


def test_additive_games_are_exact_from_two_evaluations_a_region() -> None:
    weights = generator(1).normal(size=(16, 3))
    found = estimate_shapley(
        lambda shown: 0.4 + shown @ weights, 16, budget=34, generator=generator()
    )
    np.testing.assert_allclose(found.values, weights, atol=1e-5)
    assert found.deviations.max() < 0.05 * np.abs(weights).max()


def test_pairwise_games_are_exact_from_two_evaluations_a_region() -> None:
    """Complements cancel interactions of two; each is shared equally (by hand)."""
    weights = generator(2).normal(size=16)
    pairs = np.triu(generator(3).normal(size=(16, 16)), 1)

    def game(shown: Coalitions) -> np.ndarray:
        shown = shown.astype(float)
        return (shown @ weights + np.einsum("mi,ij,mj->m", shown, pairs, shown))[:, None]

    found = estimate_shapley(game, 16, budget=34, generator=generator())
    shapley = weights + (pairs.sum(0) + pairs.sum(1)) / 2
    np.testing.assert_allclose(found.values[:, 0], shapley, atol=1e-5)


def test_more_evaluations_are_closer_and_beat_the_tree() -> None:
    """Means over games; the tree has 60 evaluations."""
    tree = RegionTree.halving(4, 4, depth=4)
    errors = np.empty((6, 4))
    for seed in range(6):
        game = saturating(16, seed=seed)
        exact = exact_shapley(game, 16)[:, 0]
        coarse = explain(GameEvaluator(game, tree), tree).leaf_values(0)
        errors[seed, 0] = error(coarse, exact)
        for column, budget in enumerate((64, 128, 512), start=1):
            refined = AnytimeExplainer(depth=4, budget=budget).explain(GameEvaluator(game, tree))
            errors[seed, column] = error(refined.leaf_values(0), exact)
    means = errors.mean(0)
    assert (np.diff(means) < 0).all()
    assert means[3] < 0.2 * means[0]


def test_deviations_say_how_far_off_values_are() -> None:
    """About two thirds of errors within one deviation, nearly all within three."""
    ratios = []
    for seed in range(8):
        game = saturating(12, seed=seed)
        found = estimate_shapley(game, 12, budget=64, generator=generator(seed))
        ratios.append(np.abs(found.values - exact_shapley(game, 12)) / found.deviations)
    assert 0.4 < np.mean(np.array(ratios) < 1) < 0.99
    assert np.mean(np.array(ratios) < 3) > 0.95


def test_a_refined_explanation_is_whole_at_every_level() -> None:
    tree = RegionTree.halving(5, 7, depth=4)
    refined = AnytimeExplainer(depth=4, budget=90).explain(GameEvaluator(saturating(16, 4), tree))
    halves = refined.credits[tree.first_halves] + refined.credits[tree.first_halves + 1]
    np.testing.assert_allclose(halves, refined.credits[tree.parent[tree.first_halves]], atol=1e-12)
    assert refined.deviations is not None
    assert refined.deviations.shape == (16, 2)
    assert abs(refined.efficiency_gap(1)) < 1e-12
    assert refined.evaluations == 90


def test_the_same_seed_gives_the_same_values() -> None:
    game = saturating(16, 5)
    one, same, other = (
        estimate_shapley(game, 16, budget=80, generator=generator(seed)).values
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


def test_renumbered_regions_have_renumbered_values() -> None:
    """With all coalitions of every size up to the budget the numbering cannot matter."""
    game, order = saturating(6, 6), generator(0).permutation(6)
    straight = estimate_shapley(game, 6, budget=64, generator=generator()).values
    moved = estimate_shapley(
        lambda shown: game(shown[:, np.argsort(order)]), 6, budget=64, generator=generator()
    ).values
    np.testing.assert_allclose(moved, straight[order], atol=1e-12)


def test_prior_equals_sums_over_all_coalitions() -> None:
    """Its integrals, against Shapley values taken from the covariance itself, row by row."""
    kernel = OddKernel(players=7, interaction_variance=0.4, length_scale=0.6)
    everywhere = np.where(every_coalition(7), 1.0, -1.0)
    covariance = kernel.covariance(everywhere, everywhere)
    found = kernel.shapley_covariance(everywhere)
    direct = exact_shapley(lambda _: covariance, 7)
    np.testing.assert_allclose(found, direct, atol=1e-10)
    twice = exact_shapley(lambda _: direct.T, 7)
    np.testing.assert_allclose(np.diag(twice), kernel.shapley_variance, atol=1e-10)


def test_designs_are_new_pairs() -> None:
    known = np.concatenate([np.ones((1, 16), dtype=bool), np.eye(16, dtype=bool)])
    chosen = best_pairs(known, 40, generator())
    keys = pair_keys(np.concatenate([known, chosen]))
    assert len(chosen) == 40
    assert len(np.unique(keys, axis=0)) == 57
    everything = best_pairs(np.ones((1, 5), dtype=bool), 100, generator())
    assert len(everything) == 15


def test_drawn_coalitions_have_every_size() -> None:
    sizes = draw_pairs(16, 4000, generator()).sum(1)
    assert set(sizes) == set(range(1, 16))
    assert abs(sizes.mean() - 8) < 0.2


def test_a_plan_in_coalitions_shows_the_same_pixels() -> None:
    tree = RegionTree.halving(6, 9, depth=3)
    plan = Plan.of(tree, "both")
    masking = RegionMasking(tree_coalitions(plan.tree, plan.masking), region_map(tree))
    np.testing.assert_array_equal(masking.pixels(6, 9), plan.masking.pixels(6, 9))


def test_region_game_is_the_network_on_masked_images() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 3)).eval()
    image, baseline = torch.randn(3, 4, 4), torch.randn(3, 4, 4)
    tree = RegionTree.halving(4, 4, depth=2)
    shown = np.array([[True, False, False, True], [False, True, True, True]])
    masks = torch.from_numpy(shown[:, region_map(tree)][:, None])
    with torch.no_grad():
        expected = network(torch.where(masks, image, baseline)).double().softmax(1).numpy()
    game = region_game(DenseEvaluator(network, image, baseline), tree)
    np.testing.assert_allclose(game(shown), expected, atol=1e-6)


def test_what_cannot_be_done_is_said() -> None:
    game, tree = saturating(16, 0), RegionTree.halving(4, 4, depth=4)
    with pytest.raises(ValueError, match=r"budget must be >= 2, got 1"):
        estimate_shapley(game, 16, budget=1, generator=generator())
    with pytest.raises(ValueError, match=r"1 to 20 players, got 21"):
        every_coalition(21)
    with pytest.raises(ValueError, match=r"the regions cover \(4, 4\), the image has \(5, 4\)"):
        RegionMasking(every_coalition(2), region_map(tree)).pixels(5, 4)
