"""As many evaluations as one wants to pay for: fewer than a whole tree has, or more.

A tolerance or a small budget divides only the regions that matter, level by level: the credits of
a level say which of its regions go on. What a budget has left after the tree refines its leaves
towards their Shapley values (see ``refinement``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ier_ray.explain.coalitions import CoalitionPlan, region_map
from ier_ray.explain.dncshap import SOLVERS, Contexts, Explanation, Plan, Variant, solved
from ier_ray.explain.evaluators import Scores
from ier_ray.explain.masking import Coalitions, RegionMasking
from ier_ray.explain.refinement import Pairs, continued, node_credits
from ier_ray.explain.regions import Axis, RegionTree

Execute = Callable[[Plan | CoalitionPlan], Scores]
"""Scores the masked images of a plan, ``(M, K)``; where the work runs is its own affair."""


@dataclass(frozen=True)
class AnytimeExplainer:
    """How far an explanation goes.

    Attributes:
        depth: halvings of the image, at most.
        contexts, variant: as of :func:`ier_ray.explain.explain`.
        tolerance: regions with a credit of at most this, in units of the score, stay whole.
        budget: most evaluations. Where it cannot pay for a level, the regions of the largest
            credits are divided; what is left after the tree refines the credits of contexts
            ``both``, variant ``normalised``.
        target: class whose credits count for both; by default that of the highest v(image).
        first_axis: the axis of the first halving.
        seed: of the coalitions that refine.
    """

    depth: int
    contexts: Contexts = "both"
    variant: Variant = "normalised"
    tolerance: float = 0.0
    budget: int | None = None
    target: int | None = None
    first_axis: Axis = "x"
    seed: int = 0

    def explain(self, execute: Execute, height: int, width: int) -> Explanation:
        """Explain one image of so many pixels."""
        tree = RegionTree.halving(height, width, depth=self.depth, first_axis=self.first_axis)
        plan = Plan.of(tree, self.contexts)
        if self.tolerance > 0 or (self.budget is not None and self.budget < len(plan)):
            plan, scores = self._grown(execute, height, width)
        else:
            scores = execute(plan)
        found = solved(plan, scores, contexts=self.contexts, variant=self.variant)
        if (self.variant, self.contexts) == ("normalised", "both") and len(plan) > 2:
            return self._refined(execute, found, plan, scores)
        return found

    def _grown(self, execute: Execute, height: int, width: int) -> tuple[Plan, Scores]:
        """A tree of the regions that matter, and the scores of its plan."""
        tree = RegionTree.halving(height, width, depth=0)
        plan = Plan.of(tree, self.contexts)
        scores = execute(plan)
        target = int(scores[plan.inside[0]].argmax()) if self.target is None else self.target
        while tree.depth < self.depth:
            credit = np.abs(SOLVERS[self.variant](plan, scores)[:, target])
            nodes = tree.deepest[credit[tree.deepest] > self.tolerance]
            if self.budget is not None:
                cost = 4 if self.contexts == "both" and tree.depth else 2
                affordable = (self.budget - len(plan)) // cost
                largest = np.argsort(-credit[nodes], kind="stable")[:affordable]
                nodes = np.sort(nodes[largest])
            if not len(nodes):
                break
            tree = tree.divided(nodes, first_axis=self.first_axis)
            plan = Plan.of(tree, self.contexts)
            scores = np.concatenate([scores, execute(plan.beyond(len(scores)))])
        return plan, scores

    def _refined(
        self, execute: Execute, found: Explanation, plan: Plan, scores: Scores
    ) -> Explanation:
        if self.budget is None or self.budget < len(plan) + 2:
            return found
        regions = region_map(plan.tree)

        def play(coalitions: Coalitions) -> Scores:
            return execute(CoalitionPlan(RegionMasking(coalitions, regions)))

        estimate = continued(
            play,
            Pairs.of_tree(plan, scores),
            budget=self.budget,
            generator=np.random.default_rng(self.seed),
        )
        return replace(
            found,
            credits=node_credits(plan.tree, estimate.values),
            deviations=estimate.deviations,
            evaluations=estimate.evaluations,
        )
