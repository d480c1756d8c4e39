"""The mean of several trees' explanations of one image.

One tree's map shows the grid of its cuts. In the mean over trees that are cut elsewhere the grid
fades, and the spread over the trees says how much of a credit depends on the cuts. If the trees'
explanations are efficient, so is their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ier_ray.explain.dncshap import Explanation, Forest
from ier_ray.explain.refinement import node_credits, region_map
from ier_ray.explain.regions import Rectangles, areas
from ier_ray.explain.shapley.game import Scores


def mean_of(explanations: Sequence[Explanation]) -> Explanation:
    """The mean of explanations of one image by different trees, on the regions of the first.

    Args:
        explanations: at least one, of one image and score.
    """
    first = explanations[0]
    if len(explanations) == 1:
        return first
    leaves = first.tree.rectangles[first.tree.leaves]
    densities = [pixel_density(each) for each in explanations]
    credit = np.stack([region_sums(density, leaves) for density in densities])
    forest = Forest(
        trees=len(explanations),
        density=np.mean(densities, axis=0),
        spread=np.std(densities, axis=0, ddof=1),
        leaf_spread=credit.std(axis=0, ddof=1),
    )
    return replace(
        first,
        credits=node_credits(first.tree, credit.mean(axis=0)),
        evaluations=sum(each.evaluations for each in explanations),
        deviations=None,
        forest=forest,
    )


def averaged(explanation: Explanation, second: Explanation) -> Explanation:
    """The mean of two explanations of one image, on the regions of the first alone.

    The second explanation's credit of a region is the sum of its density over the region's pixels.
    """
    tree = explanation.tree
    other_credit = region_sums(pixel_density(second), tree.rectangles[tree.leaves])
    credit = explanation.credits[tree.leaves] + other_credit
    return replace(
        explanation,
        credits=node_credits(tree, credit / 2),
        evaluations=explanation.evaluations + second.evaluations,
        deviations=None,
    )


def pixel_density(explanation: Explanation) -> Scores:
    """``(height, width, K)``: φ per pixel of every class, by the leaves of the tree."""
    tree, leaves = explanation.tree, explanation.tree.leaves
    density = explanation.credits[leaves] / areas(tree.rectangles[leaves])[:, None]
    painted: Scores = density[region_map(tree)]
    return painted


def region_sums(density: Scores, rectangles: Rectangles) -> Scores:
    """Sums ``(N, K)`` of a map ``(height, width, K)`` over rectangles."""
    # A summed-area table: the sum over any rectangle takes four of its values.
    summed = np.pad(density.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
    top, bottom, left, right = rectangles.T
    sums: Scores = (
        summed[bottom, right] - summed[top, right] - summed[bottom, left] + summed[top, left]
    )
    return sums
