"""DnCShap within a budget of evaluations, smaller or larger than the whole tree needs.

With a tolerance or a small budget only the regions that matter are divided, level by level: the
credits of a level decide which of its regions are divided further. What is left of the budget
after the tree refines the leaves towards their Shapley values (see ``refinement``).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ier_ray.explain.demands import Demand, Demands, Finished, after, answered
from ier_ray.explain.dncshap import (
    SOLVERS,
    Contexts,
    Explanation,
    Plan,
    Variant,
    require_defined,
    solved,
)
from ier_ray.explain.evaluators import Evaluator, Interrupt, never_interrupt
from ier_ray.explain.masking import Masking
from ier_ray.explain.refinement import node_credits, refining, region_map
from ier_ray.explain.regions import Axis, RegionTree, areas
from ier_ray.explain.shapley.game import Scores

FirstAxis = Literal[Axis, "both"]
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True)
class AnytimeExplainer:
    """Explains images up to a depth, a tolerance and a budget.

    Attributes:
        depth: largest number of successive halvings.
        contexts, variant: as in :func:`ier_ray.explain.explain`.
        tolerance: regions with a credit of at most this, in units of the score, are not divided.
        budget: largest number of evaluations. Where it does not suffice for a level, the regions
            with the largest credits are divided. What is left after the tree refines the credits,
            for contexts ``both`` and variant ``normalized``.
        target: class whose credits decide which regions are divided; by default the class of the
            highest v(image).
        first_axis: axis of the first halving. ``both`` explains with each, on half the budget, and
            gives each region of the tree that begins with x the mean of both credits.
        seed: seed of the random coalitions among which the refining ones are chosen.
    """

    depth: int
    contexts: Contexts = "both"
    variant: Variant = "normalized"
    tolerance: float = 0.0
    budget: int | None = None
    target: int | None = None
    first_axis: FirstAxis = "x"
    seed: int = 0

    def __post_init__(self) -> None:
        require_defined(self.variant, self.contexts)
        minimum = 4 if self.first_axis == "both" else 2
        if self.budget is not None and self.budget < minimum:
            raise ValueError(
                f"budget must be >= {minimum} with first_axis {self.first_axis}, "
                f"got {self.budget}: each tree scores the image and the baseline"
            )

    def explain(self, evaluator: Evaluator) -> Explanation:
        """Explain the evaluator's image."""
        return answered(self.demands(evaluator.shape), evaluator)

    def demands(
        self,
        shape: tuple[int, int],
        *,
        by_level: bool = False,
        interrupt: Interrupt = never_interrupt,
    ) -> Demands:
        """The algorithm as a generator of masked images to score, for an image of a shape.

        Args:
            by_level: demand a whole tree level by level instead of at once. Every level is final
                when its scores are known.
            interrupt: called now and then while coalitions are chosen; an exception that it raises
                stops that.
        """
        if self.first_axis != "both":
            return self._along(self.first_axis, shape, by_level, interrupt)
        return self._along_both(shape, by_level, interrupt)

    def macs(
        self,
        shape: tuple[int, int],
        costs: Callable[[Masking], NDArray[np.float64]],
        whole: float,
    ) -> float:
        """Most multiply-accumulates that an image of a shape needs.

        Args:
            costs: of masked images, ``(M,)``.
            whole: cost of the whole network, which scores the coalitions that refine.
        """
        if self.first_axis == "both":
            half = None if self.budget is None else self.budget // 2
            trees = [replace(self, first_axis=axis, budget=half) for axis in AXES]
            return sum(tree.macs(shape, costs, whole) for tree in trees)
        plan = self._whole(shape, self.first_axis)
        rows = np.sort(costs(plan.masking))[::-1][: self.budget]
        beyond = 0 if self.budget is None or not self._refines(plan) else self.budget - len(plan)
        return float(rows.sum()) + beyond * whole

    def _refines(self, plan: Plan) -> bool:
        """Whether the budget suffices to refine the leaves of a whole tree."""
        if self.budget is None or self.budget < len(plan) + 2:
            return False
        return (self.variant, self.contexts) == ("normalized", "both") and len(plan) > 2

    def _along_both(self, shape: tuple[int, int], by_level: bool, interrupt: Interrupt) -> Demands:
        """Explain with both orders of the axes, each on half the budget."""
        half = None if self.budget is None else self.budget // 2
        across, down = (
            replace(self, first_axis=axis, budget=half).demands(
                shape, by_level=by_level, interrupt=interrupt
            )
            for axis in AXES
        )
        first = yield from across
        second = yield from after(first, down)
        return averaged(first, second)

    def _along(
        self, first_axis: Axis, shape: tuple[int, int], by_level: bool, interrupt: Interrupt
    ) -> Demands:
        """Explain with one order of the axes."""
        plan = self._whole(shape, first_axis) if self.tolerance == 0 else None
        if plan is None or (self.budget is not None and self.budget < len(plan)):
            plan, scores = yield from self._grown(shape, first_axis)
        elif by_level:
            scores = yield from self._level_by_level(plan)
        else:
            scores = yield Demand(plan.masking)
        explanation = self._solved(plan, scores)
        if self.budget is None or not self._refines(plan):
            return explanation
        if (
            by_level
        ):  # nothing to score: the tree is finished, and choosing coalitions takes a while
            yield Demand(plan.masking[:0], lambda: explanation)
        return (
            yield from refining(
                explanation, plan, scores, budget=self.budget, seed=self.seed, interrupt=interrupt
            )
        )

    def _solved(self, plan: Plan, scores: Scores) -> Explanation:
        """The explanation of a plan; who scored says by which inference."""
        return solved(plan, scores, contexts=self.contexts, variant=self.variant, inference="")

    def _whole(self, shape: tuple[int, int], first_axis: Axis) -> Plan:
        """The plan of the tree in which all regions are divided."""
        tree = RegionTree.halving(*shape, depth=self.depth, first_axis=first_axis)
        return Plan.of(tree, self.contexts)

    def _level_by_level(self, plan: Plan) -> Generator[Demand, Scores, Scores]:
        """Scores of a whole plan, whose levels are finished one after another."""
        levels: list[Scores] = []
        finished: Finished | None = None
        for level in range(plan.tree.depth + 1):
            part = Plan.of(plan.tree.down_to(level), self.contexts)
            levels.append((yield Demand(part.masking[sum(map(len, levels)) :], finished)))
            finished = partial(self._solved, part, np.concatenate(levels))
        return np.concatenate(levels)

    def _grown(
        self, shape: tuple[int, int], first_axis: Axis
    ) -> Generator[Demand, Scores, tuple[Plan, Scores]]:
        """A tree of the regions that matter, and the scores of its plan."""
        tree = RegionTree.halving(*shape, depth=0)
        plan = Plan.of(tree, self.contexts)
        scores = yield Demand(plan.masking)
        target = int(scores[plan.inside[0]].argmax()) if self.target is None else self.target
        while tree.depth < self.depth:
            finished = partial(self._solved, plan, scores)
            credit = np.abs(SOLVERS[self.variant](plan, scores)[:, target])
            nodes = tree.deepest[credit[tree.deepest] > self.tolerance]
            if self.budget is not None:
                cost = 4 if self.contexts == "both" and tree.depth else 2
                affordable = (self.budget - len(plan)) // cost
                largest = np.argsort(-credit[nodes], kind="stable")[:affordable]
                nodes = np.sort(nodes[largest])
            if not len(nodes):
                break
            tree = tree.divided(nodes, first_axis=first_axis)
            plan = Plan.of(tree, self.contexts)
            new = yield Demand(plan.masking[len(scores) :], finished)
            scores = np.concatenate([scores, new])
        return plan, scores


def averaged(explanation: Explanation, second: Explanation) -> Explanation:
    """The mean of two explanations of one image, on the regions of the first.

    The second explanation's credit of a region is the sum of its density over the region's pixels.
    If both explanations are efficient, so is their mean.
    """
    tree, leaves = explanation.tree, second.tree.leaves
    density = second.credits[leaves] / areas(second.tree.rectangles[leaves])[:, None]
    # A summed-area table: the sum over any rectangle takes four of its values.
    summed = density[region_map(second.tree)].cumsum(0).cumsum(1)
    summed = np.pad(summed, ((1, 0), (1, 0), (0, 0)))
    top, bottom, left, right = tree.rectangles[tree.leaves].T
    other_credit = (
        summed[bottom, right] - summed[top, right] - summed[bottom, left] + summed[top, left]
    )
    credit = explanation.credits[tree.leaves] + other_credit
    return replace(
        explanation,
        credits=node_credits(tree, credit / 2),
        evaluations=explanation.evaluations + second.evaluations,
        deviations=None,
    )
