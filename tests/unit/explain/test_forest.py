"""Several trees cut at random: their regions, their mean, and their spread."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from support.games import Game, PixelGame, nonlinear
from torch import nn

from ier_ray.explain import (
    AnytimeExplainer,
    Contexts,
    DenseEvaluator,
    RegionTree,
    exact_evaluator,
    explain,
)
from ier_ray.explain.anytime import AXES, FirstAxis
from ier_ray.explain.dncshap import Explanation, Variant
from ier_ray.explain.regions import Jitter, areas

SUMMED: tuple[Variant, ...] = ("normalized", "proportional")


def additive(weights: np.ndarray) -> Game:
    return lambda shown: 0.5 + shown @ weights.reshape(-1, 1)


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
@pytest.mark.parametrize(
    ("height", "width", "depth"), [(1, 1, 3), (1, 7, 9), (5, 7, 12), (16, 16, 6), (13, 2, 20)]
)
def test_moved_cuts_partition_the_image_and_no_region_vanishes(
    height: int, width: int, depth: int, share: float
) -> None:
    tree = RegionTree.halving(height, width, depth=depth, jitter=Jitter(share, seed=3, number=1))
    assert areas(tree.rectangles).min() > 0
    for level in range(tree.depth + 1):
        cover = np.zeros((height, width), int)
        for top, bottom, left, right in tree.rectangles[tree.at(level)]:
            cover[top:bottom, left:right] += 1
        assert (cover == 1).all()
    regular = RegionTree.halving(height, width, depth=depth)
    assert len(tree.leaves) <= 2**depth
    if depth >= 12:  # down to single pixels, however they are cut
        assert len(tree.leaves) <= len(regular.leaves) == height * width


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_cuts_lie_within_their_share_of_half_the_side(share: float) -> None:
    side, cuts = 1000, []
    for number in range(200):
        tree = RegionTree.halving(1, side, depth=1, jitter=Jitter(share, seed=0, number=number))
        cuts.append(int(tree.rectangles[1, 3]))
    assert min(cuts) >= side * (0.5 - share / 2)
    assert max(cuts) <= side * (0.5 + share / 2)
    assert np.ptp(cuts) > 0.9 * share * side  # and use all of it
    assert abs(np.mean(cuts) - side / 2) < 0.1 * share * side


def test_the_regions_of_a_level_are_cut_each_on_its_own_whatever_is_below() -> None:
    jitter = Jitter(0.5, seed=0, number=1)
    deep = RegionTree.halving(64, 64, depth=5, jitter=jitter)
    shallow = RegionTree.halving(64, 64, depth=3, jitter=jitter)
    np.testing.assert_array_equal(deep.down_to(3).rectangles, shallow.rectangles)
    quarters = deep.rectangles[deep.at(2)]  # left and right half, each cut along y
    assert quarters[0, 1] != quarters[2, 1]
    other = RegionTree.halving(64, 64, depth=3, jitter=Jitter(0.5, seed=0, number=2))
    again = RegionTree.halving(64, 64, depth=3, jitter=Jitter(0.5, seed=1, number=1))
    assert (other.rectangles != shallow.rectangles).any()
    assert (again.rectangles != shallow.rectangles).any()


@pytest.mark.parametrize("first_axis", get_args(FirstAxis))
def test_one_tree_is_what_it_was(first_axis: FirstAxis) -> None:
    """To the bit, whatever the jitter; with both axes, the mean of two regular trees."""
    game = nonlinear(42, seed=42)
    found = AnytimeExplainer(4, first_axis=first_axis, trees=1, jitter=1.0, seed=9).explain(
        PixelGame(game, (6, 7))
    )
    assert found.forest is None
    regular = [
        explain(PixelGame(game, (6, 7)), RegionTree.halving(6, 7, depth=4, first_axis=axis))
        for axis in (AXES if first_axis == "both" else (first_axis,))
    ]
    if len(regular) == 1:
        np.testing.assert_array_equal(found.credits, regular[0].credits)
    np.testing.assert_array_equal(found.tree.rectangles, regular[0].tree.rectangles)
    np.testing.assert_allclose(
        found.density_map(0).sum(), regular[0].density_map(0).sum(), atol=1e-12
    )


@pytest.mark.parametrize("variant", SUMMED)
@pytest.mark.parametrize("contexts", get_args(Contexts))
@pytest.mark.parametrize(
    "options", [{}, {"first_axis": "both"}, {"tolerance": 0.01}, {"budget": 90}]
)
def test_the_mean_of_trees_sums_to_the_score(
    contexts: Contexts, variant: Variant, options: dict[str, Any]
) -> None:
    evaluator = PixelGame(nonlinear(42, seed=42), (6, 7))
    explainer = AnytimeExplainer(4, contexts=contexts, variant=variant, trees=4, **options)
    found = explainer.explain(evaluator)
    assert found.forest is not None
    assert found.forest.trees == (8 if "first_axis" in options else 4)
    assert found.evaluations == len(evaluator.seen) <= options.get("budget", 10_000)
    for target in range(2):
        total = (found.full - found.empty)[target]
        assert abs(found.efficiency_gap(target)) < 1e-12
        assert found.density_map(target).sum() == pytest.approx(total, abs=1e-12)
        for level in range(found.tree.depth + 1):
            coarse = found.density_map(target, level=level)
            assert coarse.sum() == pytest.approx(total, abs=1e-12)


def test_the_mean_and_the_spread_are_those_of_the_trees() -> None:
    evaluator = PixelGame(nonlinear(56, seed=3), (7, 8))
    found = AnytimeExplainer(3, trees=3, jitter=0.8, seed=5).explain(evaluator)
    trees = [RegionTree.halving(7, 8, depth=3)] + [
        RegionTree.halving(7, 8, depth=3, jitter=Jitter(0.8, seed=5, number=number))
        for number in (1, 2)
    ]
    each = [explain(evaluator, tree) for tree in trees]
    maps = np.stack([one.density_map(1) for one in each])
    assert found.forest is not None
    np.testing.assert_allclose(found.density_map(1), maps.mean(0), atol=1e-15)
    np.testing.assert_allclose(found.forest.spread[..., 1], maps.std(0, ddof=1), atol=1e-15)
    for row, (top, bottom, left, right) in enumerate(found.tree.rectangles[found.tree.leaves]):
        sums = maps[:, top:bottom, left:right].sum((1, 2))
        assert found.leaf_values(1)[row] == pytest.approx(sums.mean(), abs=1e-12)
        assert found.forest.leaf_spread[row, 1] == pytest.approx(sums.std(ddof=1), abs=1e-12)


def test_trees_repeat_by_seed() -> None:
    def explained(seed: int) -> Explanation:
        evaluator = PixelGame(nonlinear(64, seed=1), (8, 8))
        return AnytimeExplainer(4, trees=3, seed=seed).explain(evaluator)

    one, again, other = explained(0), explained(0), explained(1)
    np.testing.assert_array_equal(one.density_map(0), again.density_map(0))
    assert np.abs(one.density_map(0) - other.density_map(0)).max() > 1e-6
    np.testing.assert_array_equal(one.tree.rectangles, other.tree.rectangles)  # the regular one


def test_additive_games_have_no_spread_where_regions_do_not_mix_weights() -> None:
    """Trees of single pixels, or weights that are equal everywhere; else regions mix weights."""
    weights = np.random.default_rng(0).normal(size=20)
    pixels = AnytimeExplainer(12, trees=4).explain(PixelGame(additive(weights), (4, 5)))
    assert pixels.forest is not None
    np.testing.assert_allclose(pixels.density_map(0), weights.reshape(4, 5), atol=1e-12)
    assert pixels.forest.spread.max() < 1e-12
    even = AnytimeExplainer(2, trees=4).explain(PixelGame(additive(np.full(20, 0.7)), (4, 5)))
    assert even.forest is not None
    np.testing.assert_allclose(even.density_map(0), 0.7, atol=1e-12)
    assert even.forest.spread.max() < 1e-12
    mixed = AnytimeExplainer(2, trees=4).explain(PixelGame(additive(weights), (4, 5)))
    assert mixed.forest is not None
    assert mixed.forest.spread.max() > 0.01


def test_spread_by_hand() -> None:
    """Four pixels in a row, the last counts 6. Cut in the middle: 0 0 3 3. Of the other tree, the
    part with the last pixel has as many pixels as its cut leaves."""
    evaluator = PixelGame(additive(np.array([0, 0, 0, 6.0])), (1, 4))
    found = AnytimeExplainer(1, trees=2, jitter=1.0, seed=0).explain(evaluator)
    cut = int(RegionTree.halving(1, 4, depth=1, jitter=Jitter(1.0, 0, 1)).rectangles[1, 3])
    other = np.where(np.arange(4) >= cut, 6 / (4 - cut), 0)
    expected = np.array([[0, 0, 3, 3], other])
    assert found.forest is not None
    np.testing.assert_allclose(found.density_map(0)[0], expected.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.forest.spread[0, :, 0], expected.std(0, ddof=1), atol=1e-12)
    assert cut != 2


def test_windows_of_unequal_regions_give_the_networks_scores() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(6 * 8 * 8, 3),
    ).double().eval()  # fmt: skip
    image, baseline = torch.rand(3, 16, 16).double(), torch.zeros(3, 16, 16).double()
    windows = exact_evaluator(network, image, baseline)
    assert windows.inference == "incremental"

    explainer = AnytimeExplainer(5, trees=3, first_axis="both", jitter=1.0)
    found = explainer.explain(windows)
    dense = explainer.explain(DenseEvaluator(network, image, baseline))
    np.testing.assert_allclose(found.credits, dense.credits, atol=1e-10)
    assert found.inference == "incremental"


def test_the_cost_of_several_trees_is_the_sum_of_theirs() -> None:
    def costs(masking: object) -> np.ndarray:
        return np.ones(len(masking))  # type: ignore[arg-type]

    one = AnytimeExplainer(4).macs((16, 16), costs, whole=9.0)
    assert AnytimeExplainer(4, trees=3).macs((16, 16), costs, whole=9.0) == 3 * one == 3 * 60
    both = AnytimeExplainer(4, trees=3, first_axis="both")
    assert both.macs((16, 16), costs, whole=9.0) == 6 * one
    refined = AnytimeExplainer(4, trees=2, budget=140)  # ten more each
    assert refined.macs((16, 16), costs, whole=9.0) == 2 * (60 + 10 * 9)


def test_bad_combinations_are_refused() -> None:
    with pytest.raises(ValueError, match="variant paper is defined for trees 1, got 2"):
        AnytimeExplainer(3, variant="paper", contexts="absent", trees=2)
    with pytest.raises(ValueError, match="budget must be >= 12 with first_axis both and trees 3"):
        AnytimeExplainer(3, first_axis="both", trees=3, budget=11)
