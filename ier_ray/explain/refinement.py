"""From the region tree to the Shapley estimate, for budgets beyond the tree's evaluations.

The leaves of a tree are the players of a game; a coalition is a set of leaves that show the image.
The evaluations of a tree with contexts ``both`` are pairs of complementary coalitions, which the
estimate of :mod:`ier_ray.explain.shapley` starts from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ier_ray.explain.demands import Demand, Demands
from ier_ray.explain.dncshap import Explanation, Plan
from ier_ray.explain.evaluators import Interrupt, never_interrupt
from ier_ray.explain.masking import MaskedImages, Masking, RegionMasking
from ier_ray.explain.regions import RegionTree
from ier_ray.explain.shapley.design import designed, pair_keys
from ier_ray.explain.shapley.estimator import Pairs, posterior_estimate
from ier_ray.explain.shapley.game import Coalitions, Game, Scores


@dataclass(frozen=True)
class GameEvaluator:
    """An :class:`~ier_ray.explain.evaluators.Evaluator` of a game whose players are leaves.

    Attributes:
        game: scores coalitions of the leaves, ``(M, n)`` to ``(M, K)``.
        tree: the regions; masked images may show or hide any node, or show any set of leaves.
        inference: how the scores are computed, for the record.
    """

    game: Game
    tree: RegionTree
    inference: str = "game"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.tree.shape

    def __call__(self, masking: MaskedImages) -> Scores:
        """Scores ``(M, K)``.

        Raises:
            TypeError: for masked images of another type than these two.
        """
        if isinstance(masking, Masking):
            return self.game(tree_coalitions(self.tree, masking))
        if isinstance(masking, RegionMasking):
            return self.game(masking.coalitions)
        raise TypeError(f"masking must be Masking or RegionMasking, got {type(masking).__name__}")


def refining(
    explanation: Explanation,
    plan: Plan,
    scores: Scores,
    *,
    budget: int,
    seed: int,
    interrupt: Interrupt = never_interrupt,
) -> Demands:
    """An explanation of contexts ``both`` whose leaves are estimated from ``budget`` evaluations.

    Args:
        plan, scores: of the tree, ``(len(plan), K)``; they count towards the budget.
        seed: of the random coalitions among which those to score are chosen.
        interrupt: called now and then; an exception that it raises stops the refinement.
    """
    pairs = tree_pairs(plan, scores)
    more = designed(pairs.coalitions, budget // 2 - len(pairs), seed, interrupt)
    if len(more):
        asked = RegionMasking(np.concatenate([more, ~more]), region_map(plan.tree))
        found = yield Demand(asked, lambda: explanation)
        pairs += Pairs(more, found[: len(more)], found[len(more) :])
    estimate = posterior_estimate(pairs, interrupt)
    return replace(
        explanation,
        credits=node_credits(plan.tree, estimate.values),
        deviations=estimate.deviations,
        evaluations=estimate.evaluations,
    )


def region_map(tree: RegionTree) -> NDArray[np.int64]:
    """``(height, width)``: index of each pixel's leaf in ``tree.leaves``."""
    leaves = tree.leaves
    return tree.paint(leaves, np.arange(len(leaves), dtype=np.float64)).astype(np.int64)


def region_game(evaluate: Callable[[RegionMasking], Scores], tree: RegionTree) -> Game:
    """The game whose players are the leaves of a tree."""
    regions = region_map(tree)
    return lambda coalitions: evaluate(RegionMasking(coalitions, regions))


def tree_coalitions(tree: RegionTree, masking: Masking) -> Coalitions:
    """Images masked by nodes of a tree as coalitions of its leaves, ``(M, n)``."""
    top, bottom, left, right = masking.rectangles.T[:, :, None]
    leaf_top, leaf_bottom, leaf_left, leaf_right = tree.rectangles[tree.leaves].T[:, None, :]
    within = (top <= leaf_top) & (leaf_bottom <= bottom) & (left <= leaf_left)
    within &= leaf_right <= right
    chosen: Coalitions = within == masking.keeps_inside[:, None]
    return chosen


def tree_pairs(plan: Plan, scores: Scores) -> Pairs:
    """The pairs of complements among a tree's evaluations (contexts ``both``), the root's first."""
    coalitions = tree_coalitions(plan.tree, plan.masking)
    _, pair = np.unique(pair_keys(coalitions), return_inverse=True, axis=0)
    by_pair = np.argsort(pair.ravel(), kind="stable").reshape(-1, 2)
    first, second = by_pair[by_pair[:, 0].argsort()].T  # the plan's order: the root comes first
    return Pairs(coalitions[first], scores[first], scores[second])


def node_credits(tree: RegionTree, leaf_values: Scores) -> Scores:
    """Credits of all nodes ``(N, K)``: each is the sum over its leaves."""
    credit = np.zeros((len(tree), leaf_values.shape[1]))
    credit[tree.leaves] = leaf_values
    for node in range(len(tree) - 1, 0, -1):
        credit[tree.parent[node]] += credit[node]
    return credit
