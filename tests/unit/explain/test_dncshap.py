"""The laws of DnCShap, on games whose values are known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shap
import torch
from support.games import Game, PixelGame, nonlinear

from ier_ray.cluster.sharing import share
from ier_ray.explain import Contexts, DenseEvaluator, RegionTree, explain
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.evaluators import log_odds

ALL: tuple[Contexts, ...] = ("absent", "present", "both")
SHAPES = [(8, 8, 4), (5, 7, 10), (1, 6, 3), (1, 1, 2), (4, 4, 0), (6, 3, 3)]


def additive(pixels: int, seed: int) -> tuple[Game, np.ndarray]:
    weights = np.random.default_rng(seed).normal(size=(pixels, 2))
    return (lambda shown: 0.3 + shown @ weights), weights


@pytest.mark.parametrize("contexts", ALL)
@pytest.mark.parametrize(("height", "width", "depth"), SHAPES)
def test_efficiency_at_every_level(height: int, width: int, depth: int, contexts: Contexts) -> None:
    tree = RegionTree.halving(height, width, depth=depth)
    game = nonlinear(height * width, seed=depth)
    found = explain(PixelGame(game, (height, width)), tree, contexts=contexts)
    everything, nothing = game(np.ones((1, height * width))), game(np.zeros((1, height * width)))
    np.testing.assert_allclose(found.full, everything[0], atol=1e-12)
    np.testing.assert_allclose(found.empty, nothing[0], atol=1e-12)
    for target in range(2):
        total = (everything - nothing)[0, target]
        assert found.leaf_values(target).sum() == pytest.approx(total, abs=1e-12)
        assert found.density_map(target).sum() == pytest.approx(total, abs=1e-12)
        for level in range(tree.depth + 1):
            coarse = found.density_map(target, level=level)
            assert coarse.sum() == pytest.approx(total, abs=1e-12)
        np.testing.assert_array_equal(coarse, found.density_map(target))
        assert abs(found.efficiency_gap(target)) < 1e-12
    halves = found.credits[tree.first_halves] + found.credits[tree.first_halves + 1]
    np.testing.assert_allclose(halves, found.credits[tree.parent[tree.first_halves]], atol=1e-12)


@pytest.mark.parametrize("contexts", ALL)
def test_additive_games_are_exact(contexts: Contexts) -> None:
    tree = RegionTree.halving(6, 5, depth=4)
    game, weights = additive(30, seed=1)
    found = explain(PixelGame(game, (6, 5)), tree, contexts=contexts)
    for node, (top, bottom, left, right) in enumerate(tree.rectangles):
        expected = weights.reshape(6, 5, 2)[top:bottom, left:right].sum((0, 1))
        np.testing.assert_allclose(found.credits[node], expected, atol=1e-12)


def test_both_is_exact_on_pairwise_interactions() -> None:
    """Shapley: an interaction is shared equally by its two players."""
    tree = RegionTree.halving(4, 4, depth=4)
    generator = np.random.default_rng(2)
    weights, pairs = generator.normal(size=16), generator.normal(size=(16, 16))
    pairs = np.triu(pairs, 1)

    def game(shown: np.ndarray) -> np.ndarray:
        return (shown @ weights + np.einsum("mi,ij,mj->m", shown, pairs, shown))[:, None]

    shapley = weights + (pairs.sum(0) + pairs.sum(1)) / 2
    found = explain(PixelGame(game, (4, 4)), tree, contexts="both")
    np.testing.assert_allclose(found.leaf_map(0).ravel(), shapley, atol=1e-12)
    one_sided: tuple[Contexts, ...] = ("absent", "present")
    for contexts in one_sided:
        other = explain(PixelGame(game, (4, 4)), tree, contexts=contexts)
        assert np.abs(other.leaf_map(0).ravel() - shapley).max() > 0.1


def test_two_halves_by_hand() -> None:
    """v(∅)=1, v(left)=4, v(right)=2, v(both)=9: credits 5 and 3, left is the larger."""
    values = {(False, False): 1.0, (True, False): 4.0, (False, True): 2.0, (True, True): 9.0}

    def game(shown: np.ndarray) -> np.ndarray:
        return np.array([[values[bool(a), bool(b)]] for a, b in shown])

    for contexts in ALL:
        found = explain(
            PixelGame(game, (1, 2)), RegionTree.halving(1, 2, depth=1), contexts=contexts
        )
        assert found.leaf_map(0).tolist() == [[5.0, 3.0]]
        assert found.evaluations == 4


@pytest.mark.parametrize("contexts", ALL)
def test_mirrored_games_have_mirrored_credits(contexts: Contexts) -> None:
    tree = RegionTree.halving(8, 8, depth=5)
    game = nonlinear(64, seed=3)

    def mirrored(shown: np.ndarray) -> np.ndarray:
        return game(shown.reshape(-1, 8, 8)[:, ::-1, ::-1].reshape(-1, 64))

    straight = explain(PixelGame(game, (8, 8)), tree, contexts=contexts)
    reversed_ = explain(PixelGame(mirrored, (8, 8)), tree, contexts=contexts)
    np.testing.assert_allclose(reversed_.leaf_map(1), straight.leaf_map(1)[::-1, ::-1], atol=1e-12)


@pytest.mark.parametrize("depth", [0, 1, 2, 5, 8])
def test_evaluation_counts(depth: int) -> None:
    tree = RegionTree.halving(16, 16, depth=depth)
    leaves = 2**depth
    expected = {"absent": 2 * leaves, "present": 2 * leaves, "both": max(2, 4 * leaves - 4)}
    for contexts in ALL:
        plan = Plan.of(tree, contexts)
        assert len(plan) == expected[contexts]
        shown = plan.masking.pixels(16, 16).reshape(len(plan), -1)
        assert len(np.unique(shown, axis=0)) == len(plan)  # nothing is scored twice


@pytest.mark.parametrize(("contexts", "fixed"), [("absent", 0), ("present", 1)])
def test_equals_shaps_partition_explainer_on_the_same_tree(contexts: Contexts, fixed: int) -> None:
    """An independent implementation of the one-context recursion."""
    depth, pixels = 4, 16
    tree = RegionTree.halving(4, 4, depth=depth)
    game = nonlinear(pixels, seed=6)
    order = np.array([top * 4 + left for top, _, left, _ in tree.rectangles[tree.leaves]])

    # The balanced binary clustering of the leaves in tree order, as scipy linkage rows.
    linkage, nodes, size = [], list(range(pixels)), 1
    while len(nodes) > 1:
        size *= 2
        merged = []
        for left, right in zip(nodes[::2], nodes[1::2], strict=True):
            linkage.append([left, right, size, size])
            merged.append(pixels + len(linkage) - 1)
        nodes = merged

    def score(shown: np.ndarray) -> np.ndarray:
        by_pixel = np.zeros_like(shown, dtype=float)
        by_pixel[:, order] = shown
        return game(by_pixel)[:, 0]

    clustering = np.array(linkage, dtype=float)
    masker = shap.maskers.Partition(np.zeros((1, pixels)), max_samples=1, clustering=clustering)
    explainer = shap.explainers.Partition(score, masker)
    theirs = explainer(
        np.ones((1, pixels)), fixed_context=fixed, max_evals=10_000, silent=True
    ).values[0]
    ours = explain(PixelGame(game, (4, 4)), tree, contexts=contexts).leaf_values(0)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("contexts", ALL)
def test_a_plan_begins_with_that_of_the_upper_levels(contexts: Contexts) -> None:
    upper = Plan.of(RegionTree.halving(7, 9, depth=3), contexts).masking.pixels(7, 9)
    whole = Plan.of(RegionTree.halving(7, 9, depth=5), contexts).masking.pixels(7, 9)
    np.testing.assert_array_equal(whole[: len(upper)], upper)


@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_shares_are_all_rows_sorted_by_cost_and_nearly_alike(count: int) -> None:
    costs = np.random.default_rng(count).gamma(1.5, size=500) + 0.1
    shares = [share(costs, index, count) for index in range(count)]
    assert sorted(np.concatenate(shares)) == list(range(500))
    for more, less in pairwise(shares):
        assert costs[more].min() >= costs[less].max()
    for rows in shares:
        assert costs[rows].sum() == pytest.approx(costs.sum() / count, abs=costs[rows].max())


def test_shares_by_hand() -> None:
    costs = np.array([1.0, 5.0, 1.0, 2.0, 1.0])
    assert [share(costs, index, 2).tolist() for index in range(2)] == [[1], [0, 2, 3, 4]]


def test_printed_variant_by_hand() -> None:
    """Algorithms 1 and 2 on a 1x4 row, four single predictions, worked out on paper."""
    v = {"": 1.0, "1234": 20.0, "12": 7.0, "34": 5.0, "1": 2.0, "2": 4.0, "3": 3.0, "4": 8.0}

    def game(shown: np.ndarray) -> np.ndarray:
        names = ["".join(str(i + 1) for i in np.flatnonzero(row)) for row in shown]
        return np.array([[v[name]] for name in names])

    tree = RegionTree.halving(1, 4, depth=2)
    found = explain(PixelGame(game, (1, 4)), tree, contexts="absent", variant="paper")
    # Algorithm 1: ((7-1)+(20-5))/2 and ((5-1)+(20-7))/2.
    assert found.credits[1:3, 0].tolist() == [10.5, 8.5]
    # Algorithm 2 on the left half: pred_b = 1+5, pred_f = 7+20; on the right: 1+7 and 5+20.
    left = [((2 - 6) + (27 - 4)) / 4, ((4 - 6) + (27 - 2)) / 4]
    right = [((3 - 8) + (25 - 8)) / 4, ((8 - 8) + (25 - 3)) / 4]
    assert found.credits[3:, 0].tolist() == left + right


def test_printed_variant_needs_the_papers_contexts() -> None:
    with pytest.raises(ValueError, match="defined for contexts absent, got both"):
        explain(
            PixelGame(nonlinear(4, 0), (2, 2)), RegionTree.halving(2, 2, depth=1), variant="paper"
        )


def tiny_network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 6 * 9, 3),
    ).eval()


def test_dense_evaluator_equals_one_image_at_a_time() -> None:
    network = tiny_network(0)
    image, baseline = torch.randn(3, 6, 9), torch.randn(3, 6, 9)
    plan = Plan.of(RegionTree.halving(6, 9, depth=3), "both")
    evaluator = DenseEvaluator(network, image, baseline, batch_size=5)
    expected = []
    for (top, bottom, left, right), inside in zip(
        plan.masking.rectangles, plan.masking.keeps_inside, strict=True
    ):
        shown = (baseline if inside else image).clone()
        source = image if inside else baseline
        shown[:, top:bottom, left:right] = source[:, top:bottom, left:right]
        with torch.no_grad():
            expected.append(network(shown[None]).double().softmax(1)[0].numpy())
    np.testing.assert_allclose(evaluator(plan.masking), expected, atol=1e-6)


def test_batch_size_does_not_matter() -> None:
    network = tiny_network(1).double()
    image, baseline = torch.randn(3, 6, 9).double(), torch.zeros(3, 6, 9).double()
    tree = RegionTree.halving(6, 9, depth=4)
    results = [
        explain(DenseEvaluator(network, image, baseline, batch_size=size), tree).credits
        for size in (1, 7, 1000)
    ]
    np.testing.assert_allclose(results[0], results[1], atol=1e-12)
    np.testing.assert_allclose(results[0], results[2], atol=1e-12)


def test_log_odds_by_hand_and_in_the_tail() -> None:
    p = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    torch.testing.assert_close(log_odds(p.log()), (p / (1 - p)).log())
    certain = log_odds(torch.tensor([[80.0, 0.0, 0.0]], dtype=torch.float64))
    assert certain[0, 0].item() == pytest.approx(80 - np.log(2), abs=1e-12)
