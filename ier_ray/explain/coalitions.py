"""Coalitions: any set of leaf regions shows, not one rectangle alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ier_ray.explain.evaluators import Scores
from ier_ray.explain.masking import Coalitions, Masking, RegionMasking
from ier_ray.explain.regions import RegionTree

Game = Callable[[Coalitions], Scores]
"""Scores coalitions: ``(M, n)`` to ``(M, K)``."""

MOST_REGIONS = 20
"""Every coalition of so many regions is about a million."""


def region_map(tree: RegionTree) -> NDArray[np.int64]:
    """``(height, width)``: the number of each pixel's leaf, in the order of ``tree.leaves``."""
    leaves = tree.leaves
    return tree.paint(leaves, np.arange(len(leaves), dtype=np.float64)).astype(np.int64)


def region_game(evaluator: Callable[[RegionMasking], Scores], tree: RegionTree) -> Game:
    """The game that the leaves of a tree play: any of them can show alone."""
    regions = region_map(tree)

    return lambda coalitions: evaluator(RegionMasking(coalitions, regions))


def tree_coalitions(tree: RegionTree, masking: Masking) -> Coalitions:
    """Images masked by nodes of a tree as coalitions of its leaves, ``(M, n)``."""
    top, bottom, left, right = masking.rectangles.T[:, :, None]
    leaf_top, leaf_bottom, leaf_left, leaf_right = tree.rectangles[tree.leaves].T[:, None, :]
    within = (top <= leaf_top) & (leaf_bottom <= bottom) & (left <= leaf_left)
    within &= leaf_right <= right
    chosen: Coalitions = within == masking.keeps_inside[:, None]
    return chosen


def every_coalition(count: int) -> Coalitions:
    """All ``2**count`` coalitions; row r shows region i where bit i of r is set.

    Raises:
        ValueError: for more than 20 regions.
    """
    if not 1 <= count <= MOST_REGIONS:
        raise ValueError(
            f"every coalition can be listed for 1 to {MOST_REGIONS} regions, got {count}; "
            f"use a shallower tree"
        )
    bits: Coalitions = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)
    return bits
