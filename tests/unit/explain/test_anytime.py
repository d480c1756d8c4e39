"""Explanations of fewer evaluations than a whole tree has; credit by evidence."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from support.games import Game, PixelGame, nonlinear

from ier_ray.explain import AnytimeExplainer, Contexts, RegionTree, explain
from ier_ray.explain.anytime import AXES
from ier_ray.explain.dncshap import Variant
from ier_ray.explain.refinement import region_map
from ier_ray.explain.shapley.exact import exact_shapley

ALL: tuple[Contexts, ...] = get_args(Contexts)
BOTH_WAYS: tuple[Variant, ...] = ("normalized", "proportional")


def additive(*weights: float) -> Game:
    return lambda shown: 0.5 + (shown @ np.array(weights))[:, None]


def test_regions_within_the_tolerance_stay_whole() -> None:
    """A row of eight pixels; a credit of 1 is within a tolerance of 1.5, and so is 0."""
    evaluator = PixelGame(additive(0, 0, 0, 0, 4, 0, 0, 1), (1, 8))
    explainer = AnytimeExplainer(3, contexts="present", variant="proportional", tolerance=1.5)
    found = explainer.explain(evaluator)
    columns = found.tree.rectangles[found.tree.leaves][:, 2:].tolist()
    assert columns == [[0, 4], [6, 8], [4, 5], [5, 6]]
    np.testing.assert_allclose(found.leaf_values(0), [0, 1, 4, 0], atol=1e-12)
    assert found.evaluations == len(evaluator.seen) == 2 + 3 * 2


def test_a_small_budget_divides_the_largest_credits() -> None:
    """Of the second level's 3, 1, 8 and 4 it can divide two: 2 + 2 + 4 + 2 · 2 evaluations."""
    evaluator = PixelGame(additive(3, 0, 0, 1, 2, 6, 4, 0), (1, 8))
    found = AnytimeExplainer(3, contexts="absent", budget=13).explain(evaluator)
    columns = found.tree.rectangles[found.tree.leaves][:, 2:].tolist()
    assert columns == [[0, 2], [2, 4], [4, 5], [5, 6], [6, 7], [7, 8]]
    np.testing.assert_allclose(found.leaf_values(0), [3, 1, 2, 6, 4, 0], atol=1e-12)
    assert found.evaluations == len(evaluator.seen) == 12


@pytest.mark.parametrize("contexts", ALL)
@pytest.mark.parametrize("variant", BOTH_WAYS)
@pytest.mark.parametrize("budget", [2, 3, 9, 30, 47, 1000])
def test_regions_that_were_divided_have_the_whole_trees_credits(
    contexts: Contexts, variant: Variant, budget: int
) -> None:
    evaluator = PixelGame(nonlinear(42, seed=42), (6, 7))
    explainer = AnytimeExplainer(
        6, contexts=contexts, variant=variant, tolerance=0.01, budget=budget
    )
    limited = explainer.explain(evaluator)
    assert limited.evaluations == len(evaluator.seen) == len(set(evaluator.seen)) <= budget
    assert abs(limited.efficiency_gap(1)) < 1e-12
    if limited.deviations is None:
        whole = AnytimeExplainer(6, contexts=contexts, variant=variant).explain(evaluator)
        row = {tuple(place): row for row, place in enumerate(whole.tree.rectangles)}
        rows = [row[tuple(place)] for place in limited.tree.rectangles]
        np.testing.assert_allclose(limited.credits, whole.credits[rows], atol=1e-12)


def test_without_limits_it_is_the_whole_tree() -> None:
    evaluator = PixelGame(nonlinear(42, seed=42), (6, 7))
    found = AnytimeExplainer(5, first_axis="y").explain(evaluator)
    tree = RegionTree.halving(6, 7, depth=5, first_axis="y")
    whole = explain(evaluator, tree)
    np.testing.assert_array_equal(found.tree.rectangles, tree.rectangles)
    np.testing.assert_array_equal(found.credits, whole.credits)
    assert found.deviations is None


def test_what_is_left_of_a_budget_refines_the_regions_there_are() -> None:
    """With every coalition of 8 regions affordable the Shapley values are exact."""
    game = nonlinear(8, seed=8)
    evaluator = PixelGame(game, (2, 4))
    found = AnytimeExplainer(3, budget=300).explain(evaluator)
    leaves = region_map(found.tree).reshape(-1)
    exact = exact_shapley(lambda shown: game(shown[:, leaves].astype(float)), 8)
    np.testing.assert_allclose(found.credits[found.tree.leaves], exact, atol=1e-10)
    np.testing.assert_array_equal(found.deviations, np.zeros((8, 2)))
    assert found.evaluations == len(evaluator.seen) == 256


def test_the_explained_class_says_which_regions_matter() -> None:
    weights = np.array([[4, 0, 0, 0], [0, 0, 0, 3]]).T

    def game(shown: np.ndarray) -> np.ndarray:
        return shown @ weights

    for target, corner in ((None, 0), (0, 0), (1, 3)):  # by default the higher of 4 and 3
        evaluator = PixelGame(game, (1, 4))
        explainer = AnytimeExplainer(2, tolerance=0.5, target=target)
        found = explainer.explain(evaluator)
        pixels = found.tree.rectangles[found.tree.level == 2][:, 2]
        assert corner in pixels
        assert len(found.tree.leaves) == 3


@pytest.mark.parametrize("contexts", ALL)
@pytest.mark.parametrize("sign", [1, -1])
def test_evidence_of_additive_games_of_one_sign_is_their_weights(
    contexts: Contexts, sign: int
) -> None:
    weights = sign * np.random.default_rng(0).random(30)
    evaluator = PixelGame(additive(*weights), (6, 5))
    found = AnytimeExplainer(4, contexts=contexts, variant="proportional").explain(evaluator)
    for node, (top, bottom, left, right) in enumerate(found.tree.rectangles):
        expected = weights.reshape(6, 5)[top:bottom, left:right].sum()
        assert found.credits[node, 0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("contexts", "expected"),
    [
        # Gains: 3 and 1; then 3 and 1, and 0 and -1.
        ("absent", [5 * 3 / 4 * 3 / 4, 5 * 3 / 4 * 1 / 4, 5 * 1 / 4 / 2, 5 * 1 / 4 / 2]),
        # Losses: 4 and 2; then 6 and -1, and 2 and -2.
        ("present", [5 * 4 / 6, 0, 5 * 2 / 6, 0]),
        # Sums: 7 and 3; then 9 and 0, and 2 and -3.
        ("both", [5 * 7 / 10, 0, 5 * 3 / 10, 0]),
    ],
)
def test_evidence_by_hand(contexts: Contexts, expected: list[float]) -> None:
    """A row of four; the third pixel counts only beside others, the fourth speaks against."""
    v = {
        "": 1.0, "1234": 6.0,
        "12": 4.0, "34": 2.0,
        "1": 4.0, "2": 2.0, "3": 1.0, "4": 0.0,
        "234": 0.0, "134": 7.0, "124": 4.0, "123": 8.0,
    }  # fmt: skip

    def game(shown: np.ndarray) -> np.ndarray:
        names = ["".join(str(i + 1) for i in np.flatnonzero(row)) for row in shown]
        return np.array([[v[name]] for name in names])

    evaluator = PixelGame(game, (1, 4))
    found = AnytimeExplainer(2, contexts=contexts, variant="proportional").explain(evaluator)
    np.testing.assert_allclose(found.leaf_values(0), expected, atol=1e-12)


def test_without_evidence_halves_share_equally() -> None:
    """Only both pixels together count, and each is shown alone."""
    evaluator = PixelGame(lambda shown: shown.prod(1, keepdims=True), (1, 2))
    found = AnytimeExplainer(1, contexts="absent", variant="proportional").explain(evaluator)
    assert found.credits[:, 0].tolist() == [1, 0.5, 0.5]


@pytest.mark.parametrize("variant", BOTH_WAYS)
def test_the_mean_of_both_axes(variant: Variant) -> None:
    """Turning the image turns the explanation, and where both have a region it gets the mean."""
    game = nonlinear(16, seed=16)
    evaluator = PixelGame(game, (4, 4))
    turned = PixelGame(
        lambda shown: game(shown.reshape(-1, 4, 4).swapaxes(1, 2).reshape(-1, 16)), (4, 4)
    )
    explainer = AnytimeExplainer(4, variant=variant, first_axis="both")
    found = explainer.explain(evaluator)
    assert found.evaluations == len(evaluator.seen) == 2 * 60
    assert found.deviations is None
    again = explainer.explain(turned)
    one, other = (
        AnytimeExplainer(4, variant=variant, first_axis=axis).explain(evaluator) for axis in AXES
    )
    for target in range(2):
        mean = (one.density_map(target) + other.density_map(target)) / 2
        np.testing.assert_allclose(found.density_map(target), mean, atol=1e-12)
        np.testing.assert_allclose(again.density_map(target), mean.T, atol=1e-12)
        assert abs(found.efficiency_gap(target)) < 1e-12


def test_the_mean_of_trees_with_other_regions_keeps_the_sums() -> None:
    """A row of 2x3 pixels halved once: its left column against its upper row."""
    evaluator = PixelGame(additive(1, 2, 3, 4, 5, 6), (2, 3))
    found = AnytimeExplainer(1, first_axis="both", budget=12).explain(evaluator)
    # Left column: 1 + 4; from rows of densities 6/3 and 15/3 it is due 2 + 5.
    np.testing.assert_allclose(found.leaf_values(0), [(5 + 7) / 2, (16 + 14) / 2], atol=1e-12)
    assert found.evaluations <= 12


def test_a_budget_pays_for_the_image_and_the_baseline_at_least() -> None:
    with pytest.raises(ValueError, match="budget must be >= 2 with first_axis x, got 1"):
        AnytimeExplainer(1, budget=1)
    with pytest.raises(ValueError, match="budget must be >= 4 with first_axis both, got 3"):
        AnytimeExplainer(1, budget=3, first_axis="both")
