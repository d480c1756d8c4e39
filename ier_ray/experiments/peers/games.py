"""Ours and the peers that score coalitions, as one kind of method on one kind of game."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ier_ray.experiments.peers.perturbation import GAME_PEERS, GamePeer
from ier_ray.explain import AnytimeExplainer, RegionTree, explain
from ier_ray.explain.dncshap import Contexts, Plan
from ier_ray.explain.refinement import GameEvaluator
from ier_ray.explain.shapley import Coalitions, Game, Scores, estimate_shapley

Values = NDArray[np.float64]


class RegionGame(Protocol):
    """Scores of coalitions of a tree's leaves, of one class of each of K images."""

    tree: RegionTree

    def __call__(self, coalitions: Coalitions) -> Scores:
        """Scores ``(M, K)``."""

    def each(self) -> list[RegionGame]:
        """The game of each image."""


@dataclass
class ImageGame:
    """One class of one image: coalitions are scored when asked for, once each."""

    tree: RegionTree
    play: Game
    target: int
    known: dict[bytes, Values] = field(default_factory=dict)

    def __call__(self, coalitions: Coalitions) -> Scores:
        """Scores ``(M, 1)``."""
        asked = {row.tobytes(): row for row in coalitions}
        new = [key for key in asked if key not in self.known]
        if new:
            scores = self.play(np.array([asked[key] for key in new]))[:, [self.target]]
            self.known.update(zip(new, scores, strict=True))
        return np.array([self.known[row.tobytes()] for row in coalitions])

    def each(self) -> list[RegionGame]:
        """Itself."""
        return [self]


Method = Callable[[RegionGame, int], Values]
"""Values ``(n, K)`` from at most so many evaluations."""


def ours(game: RegionGame, budget: int) -> Values:
    """Our estimator, which chooses all its coalitions."""
    generator = np.random.default_rng(0)
    regions = len(game.tree.leaves)
    return estimate_shapley(game, regions, budget=budget, generator=generator).values


def ours_refined(game: RegionGame, budget: int) -> Values:
    """DnCShap's tree, refined with what it leaves of the budget.

    Raises:
        ValueError: when the budget does not pay for the tree.
    """
    tree = game.tree
    if budget < len(Plan.of(tree, "both")):
        raise ValueError("the budget does not pay for the tree")
    found = AnytimeExplainer(depth=tree.depth, budget=budget).explain(GameEvaluator(game, tree))
    return found.credits[found.tree.leaves]


def dncshap(game: RegionGame, budget: int, *, contexts: Contexts = "both") -> Values:
    """DnCShap's tree alone.

    Raises:
        ValueError: when the budget does not pay for it.
    """
    plan = Plan.of(game.tree, contexts)
    if budget < len(plan):
        raise ValueError(f"budget must be >= {len(plan)}, got {budget}")
    found = explain(GameEvaluator(game, game.tree), game.tree, contexts=contexts)
    return found.credits[game.tree.leaves]


def column_of(game: Game, column: int, coalitions: Coalitions) -> Values:
    """Scores ``(M,)`` of one class."""
    return game(coalitions)[:, column]


def peer(method: GamePeer) -> Method:
    """A peer, which explains one image at a time."""

    def run(game: RegionGame, budget: int) -> Values:
        columns = []
        for one in game.each():
            only = partial(column_of, one, 0)
            columns.append(method(only, len(game.tree.leaves), budget=budget, seed=0))
        return np.stack(columns, axis=1)

    return run


OURS: dict[str, Method] = {"ours": ours, "ours_refined": ours_refined, "dncshap": dncshap}
METHODS = OURS | {name: peer(method) for name, method in GAME_PEERS.items()}
