"""Explainers of Table 1: credits of an image's regions, from a counted number of evaluations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ier_ray.experiments.cases import Explained
from ier_ray.experiments.peers import IMAGE_PEERS, Subject
from ier_ray.experiments.peers.games import METHODS, ImageGame, Method, dncshap
from ier_ray.explain import DenseEvaluator, RegionTree, explain
from ier_ray.explain.incremental import ExactInference
from ier_ray.explain.refinement import region_game
from ier_ray.explain.shapley import exact_shapley

Values = NDArray[np.float64]
BATCH = 64
RANDOM, EXACT, INCREMENTAL = "random", "exact", "dncshap_incremental"
EXACT_REGIONS = 16
"""Most regions whose exact Shapley values are computed."""

GAMES: dict[str, Method] = {**METHODS, "dncshap_absent": partial(dncshap, contexts="absent")}
EXPLAINERS = (*GAMES, *IMAGE_PEERS, INCREMENTAL, EXACT, RANDOM)
"""Explainers by their names in grids."""


def game_of(case: Explained, tree: RegionTree) -> ImageGame:
    """The game of a case's regions; every coalition is scored once."""
    evaluator = DenseEvaluator(case.network, case.image, case.baseline, batch_size=BATCH)
    return ImageGame(tree, region_game(evaluator, tree), case.target)


def credits_of(name: str, case: Explained, tree: RegionTree, *, budget: int) -> Values:
    """Values ``(n,)`` of a tree's leaves by an explainer.

    Raises:
        ValueError: when the budget, or the number of regions, is not possible for it.
    """
    if name in GAMES:
        values: Values = GAMES[name](game_of(case, tree), budget)[:, 0]
        return values
    if name in IMAGE_PEERS:
        density: Values = IMAGE_PEERS[name](subject_of(case, tree), budget=budget)
        return in_regions(density, tree)
    return OTHERS[name](case, tree)


def exact(case: Explained, tree: RegionTree) -> Values:
    """Exact Shapley values.

    Raises:
        ValueError: for too many regions.
    """
    regions = len(tree.leaves)
    if regions > EXACT_REGIONS:
        raise ValueError(f"exact Shapley values of {regions} regions take 2^{regions} evaluations")
    return exact_shapley(game_of(case, tree), regions)[:, 0]


def incremental(case: Explained, tree: RegionTree) -> Values:
    """DnCShap's tree by incremental inference."""
    evaluator = ExactInference.of(case.network).evaluator(case.image, case.baseline)
    values: Values = explain(evaluator, tree).credits[tree.leaves, case.target]
    return values


def floor(case: Explained, tree: RegionTree) -> Values:
    """Random values: what any explainer must exceed."""
    return np.random.default_rng(case.number).normal(size=len(tree.leaves))


OTHERS: dict[str, Callable[[Explained, RegionTree], Values]] = {
    EXACT: exact,
    INCREMENTAL: incremental,
    RANDOM: floor,
}


def subject_of(case: Explained, tree: RegionTree) -> Subject:
    """The case for explainers that see pixels; their window is a region."""
    top, bottom, left, right = tree.rectangles[tree.leaves[0]].tolist()
    convolutions = [m for m in case.network.modules() if isinstance(m, nn.Conv2d)]
    named = dict(case.network.named_modules())
    trunk = named.get("features")
    layer = convolutions[-1]
    if trunk is not None:
        layer = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)][-1]
    return Subject(
        case.network, case.image, case.baseline, case.target, layer, (bottom - top, right - left)
    )


def in_regions(density: Values, tree: RegionTree) -> Values:
    """The sum of a map ``(H, W)`` in each leaf ``(n,)``."""
    return np.asarray(
        [
            density[top:bottom, left:right].sum()
            for top, bottom, left, right in tree.rectangles[tree.leaves].tolist()
        ]
    )
