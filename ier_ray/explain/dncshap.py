"""DnCShap: divide and conquer for Shapley values (paper section 3.4.1, Algorithms 1 and 2).

Let v(S) be the score when the pixels S show the image and all others the baseline. A node R of the
region tree with halves A and B has, in a context C (pixels outside R), the **contrast**
δ_C(R) = v(A∪C) − v(B∪C). With δ(R) its mean over the contexts in use, the credits are

    φ(root) = v(image) − v(baseline)
    φ(A) = (φ(R) + δ(R)) / 2        φ(B) = (φ(R) − δ(R)) / 2

At the root, with C = ∅, this is the paper's
``score_1 = ((pred_1 − pred_b) + (pred_f − pred_2)) / 2``. Below it the paper's recursion is
normalized, so that the credits of all leaves sum to v(image) − v(baseline). Which masked images to
score depends on no score: the whole tree is one list of independent evaluations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ier_ray.explain.evaluators import Evaluator
from ier_ray.explain.masking import Masking
from ier_ray.explain.regions import RegionTree, areas
from ier_ray.explain.shapley.game import Scores

Contexts = Literal["absent", "present", "both"]
Variant = Literal["normalized", "proportional", "paper"]


@dataclass(frozen=True)
class Plan:
    """Every masked image that a tree needs, known before anything is scored.

    The rows are in the order of levels: the plan of a shallower tree is a prefix of this one.

    ``inside[i]`` and ``outside[i]`` are the rows of ``masking`` that show node i alone, and all
    but node i (-1 where the contexts do not need it). The root's two rows are v(image) and
    v(baseline).
    """

    tree: RegionTree
    masking: Masking
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]

    @classmethod
    def of(cls, tree: RegionTree, contexts: Contexts) -> Plan:
        """``2n`` rows for ``absent`` or ``present``, ``4n − 4`` for ``both``, with n > 1 leaves."""
        nodes = np.arange(len(tree))
        alone = nodes if contexts != "present" else nodes[:1]
        others = nodes if contexts != "absent" else nodes[:1]
        halves = np.flatnonzero(tree.level == 1)
        if contexts == "both":  # hiding one half of the image shows the other alone
            others = np.setdiff1d(others, halves)
        node = np.concatenate([alone, others])
        keeps_inside = np.arange(len(node)) < len(alone)
        order = np.argsort(tree.level[node], kind="stable")
        node, keeps_inside = node[order], keeps_inside[order]
        inside = _positions(node, keeps_inside, len(tree))
        outside = _positions(node, ~keeps_inside, len(tree))
        if contexts == "both":
            outside[halves] = inside[halves][::-1]
        masking = Masking(tree.rectangles[node], keeps_inside)
        return cls(tree=tree, masking=masking, inside=inside, outside=outside)

    def __len__(self) -> int:
        return len(self.masking)


def _positions(node: NDArray[np.int64], chosen: NDArray[np.bool_], nodes: int) -> NDArray[np.int64]:
    positions = np.full(nodes, -1)
    positions[node[chosen]] = np.flatnonzero(chosen)
    return positions


@dataclass(frozen=True)
class Forest:
    """What several trees say of one image, K classes.

    Attributes:
        trees: how many.
        density: ``(height, width, K)``; φ per pixel, mean over the trees.
        spread: ``(height, width, K)``; its standard deviation over the trees (of the sample). That
            of the mean is √trees times smaller.
        leaf_spread: ``(n, K)``; that of the credit of each leaf of the first tree.
    """

    trees: int
    density: Scores
    spread: Scores
    leaf_spread: Scores


@dataclass(frozen=True)
class Explanation:
    """Credits of all regions of a tree.

    Attributes:
        tree: the regions.
        credits: ``(N, K)``; φ of every node for every class.
        full, empty: ``(K,)``; v(image) and v(baseline).
        contexts, variant: how the credits were computed.
        evaluations: masked images scored.
        inference: how the tree's scores were computed: ``incremental``, or ``dense`` and why.
            Coalitions that refine the leaves are always scored by the whole network.
        deviations: ``(n, K)``; posterior standard deviation of each leaf's Shapley value, if
            evaluations beyond the tree refined it.
        forest: the mean over several trees, if this is one: ``tree`` is the first of them, and the
            credit of its regions is what the mean gives their pixels.
    """

    tree: RegionTree
    credits: Scores
    full: NDArray[np.float64]
    empty: NDArray[np.float64]
    contexts: Contexts
    variant: Variant
    evaluations: int
    inference: str
    deviations: Scores | None = None
    forest: Forest | None = None

    def leaf_values(self, target: int) -> NDArray[np.float64]:
        """φ of each leaf of the tree, ``(n,)``, for one class."""
        values: NDArray[np.float64] = self.credits[self.tree.leaves, target]
        return values

    def leaf_map(self, target: int) -> NDArray[np.float64]:
        """``(height, width)``: each pixel has the φ of its leaf."""
        return self.tree.paint(self.tree.leaves, self.leaf_values(target))

    def density_map(self, target: int, *, level: int | None = None) -> NDArray[np.float64]:
        """``(height, width)``: φ per pixel; sums to v(image) − v(baseline).

        Args:
            level: level of the tree whose regions are shown; by default the leaves, or the pixels
                of the mean over several trees.
        """
        if level is None and self.forest is not None:
            return self.forest.density[..., target]
        nodes = self.tree.leaves if level is None else self.tree.at(level)
        density = self.credits[nodes, target] / areas(self.tree.rectangles[nodes])
        return self.tree.paint(nodes, density)

    def efficiency_gap(self, target: int) -> float:
        """Sum of the leaves minus v(image) − v(baseline): 0 up to rounding, but for ``paper``."""
        return float(self.leaf_values(target).sum() - (self.full - self.empty)[target])


def explain(
    evaluator: Evaluator,
    tree: RegionTree,
    *,
    contexts: Contexts = "both",
    variant: Variant = "normalized",
) -> Explanation:
    """Credits of all regions of a tree.

    Args:
        evaluator: scores masked versions of the image that the tree divides.
        contexts: what else shows when two halves are compared: ``absent`` (nothing: the paper),
            ``present`` (everything), or ``both`` (their mean: closest to exact Shapley values).
        variant: how a region's credit is divided between its halves. ``normalized``: by the closed
            form above, towards Shapley values. ``proportional``: by the evidence for each half, see
            :func:`proportional_credits`. ``paper`` reproduces Algorithms 1 and 2 as printed
            (contexts ``absent``); below the second level its credits do not sum to
            v(image) − v(baseline).
    """
    require_defined(variant, contexts)
    plan = Plan.of(tree, contexts)
    scores = evaluator(plan.masking)
    return solved(plan, scores, contexts=contexts, variant=variant, inference=evaluator.inference)


def require_defined(variant: Variant, contexts: Contexts) -> None:
    """Raise ValueError for contexts in which a variant has no meaning."""
    if variant == "paper" and contexts != "absent":
        raise ValueError(f"variant paper is defined for contexts absent, got {contexts}")


def solved(
    plan: Plan, scores: Scores, *, contexts: Contexts, variant: Variant, inference: str
) -> Explanation:
    """The explanation that follows from a plan's scores ``(len(plan), K)``."""
    return Explanation(
        tree=plan.tree,
        credits=SOLVERS[variant](plan, scores),
        full=scores[plan.inside[0]],
        empty=scores[plan.outside[0]],
        contexts=contexts,
        variant=variant,
        evaluations=len(plan),
        inference=inference,
    )


def contrasts(plan: Plan, scores: Scores) -> Scores:
    """δ of every inner node ``(inner, K)``, in the order of ``tree.first_halves``."""
    first = plan.tree.first_halves
    second = first + 1
    by_context: list[Scores] = []
    if len(first) and plan.inside[first[0]] >= 0:
        by_context.append(scores[plan.inside[first]] - scores[plan.inside[second]])
    if len(first) and plan.outside[first[0]] >= 0:  # hiding B shows A∪C
        by_context.append(scores[plan.outside[second]] - scores[plan.outside[first]])
    return np.mean(by_context, axis=0) if by_context else np.zeros((0, scores.shape[1]))


def normalized_credits(plan: Plan, scores: Scores) -> Scores:
    """φ of every node ``(N, K)`` by the module's closed form, level by level."""
    tree = plan.tree
    delta = contrasts(plan, scores)
    credit = np.empty((len(tree), scores.shape[1]))
    credit[0] = scores[plan.inside[0]] - scores[plan.outside[0]]
    for level in range(1, tree.depth + 1):
        here = tree.level[tree.first_halves] == level
        first = tree.first_halves[here]
        inherited = credit[tree.parent[first]]
        credit[first] = (inherited + delta[here]) / 2
        credit[first + 1] = (inherited - delta[here]) / 2
    return credit


def proportional_credits(plan: Plan, scores: Scores) -> Scores:
    """φ of every node ``(N, K)``, divided in proportion to the evidence for each half.

    As in the proportional value of a game of two players (Ortmann, 2000), halves A and B get

        φ(A) = φ(R) · e(A) / (e(A) + e(B))        φ(B) = φ(R) · e(B) / (e(A) + e(B))

    where e(A) is what A adds to the baseline, v(A) − v(baseline) (``absent``), what the image loses
    without A, v(image) − v(image without A) (``present``), or their sum (``both``). Evidence whose
    sign is not that of v(image) − v(baseline) counts as 0; two halves without evidence share
    equally. The leaves still sum to v(image) − v(baseline), but are not Shapley values: credit
    follows the strongest evidence and is not shared with all that supports it. Maps are sharp.
    """
    tree = plan.tree
    full, empty = scores[plan.inside[0]], scores[plan.outside[0]]
    evidence = np.zeros((len(tree), scores.shape[1]))
    halves = np.arange(1, len(tree))
    if len(halves) and plan.inside[1] >= 0:
        evidence[halves] += scores[plan.inside[halves]] - empty
    if len(halves) and plan.outside[1] >= 0:
        evidence[halves] += full - scores[plan.outside[halves]]
    evidence = np.clip(evidence * np.sign(full - empty), 0, None)
    credit: Scores = np.empty_like(evidence)
    credit[0] = full - empty
    for level in range(1, tree.depth + 1):
        first = tree.first_halves[tree.level[tree.first_halves] == level]
        total = evidence[first] + evidence[first + 1]
        share = np.where(total > 0, evidence[first] / np.where(total > 0, total, 1), 0.5)
        inherited = credit[tree.parent[first]]
        credit[first], credit[first + 1] = share * inherited, (1 - share) * inherited
    return credit


def printed_credits(plan: Plan, scores: Scores) -> Scores:
    """φ of every node ``(N, K)`` by Algorithms 1 and 2 as printed, but for two slips.

    A region is halved within its own rectangle, and each recursive call gets its own half's score
    (printed: ``score_2`` twice). The arithmetic is the paper's: ``pred_b`` and ``pred_f`` grow to
    sums of predictions while ``pred_1`` and ``pred_2`` stay single ones, and every level below the
    first divides by 4.
    """
    tree = plan.tree
    pred = scores[plan.inside]
    pred_b, pred_f = np.empty_like(pred), np.empty_like(pred)
    credit = np.empty_like(pred)
    pred_b[0], pred_f[0] = scores[plan.outside[0]], scores[plan.inside[0]]
    credit[0] = pred_f[0] - pred_b[0]
    for first in tree.first_halves:
        parent, second = tree.parent[first], first + 1
        divisor = 2 if tree.level[first] == 1 else 4
        for half, other in ((first, second), (second, first)):
            gain = (pred[half] - pred_b[parent]) + (pred_f[parent] - pred[other])
            credit[half] = gain / divisor
            pred_b[half] = pred_b[parent] + pred[other]
            pred_f[half] = pred[half] + pred_f[parent]
    return credit


SOLVERS: dict[Variant, Callable[[Plan, Scores], Scores]] = {
    "normalized": normalized_credits,
    "proportional": proportional_credits,
    "paper": printed_credits,
}
"""Credits of all nodes ``(N, K)`` from a plan's scores ``(len(plan), K)``, by variant."""
