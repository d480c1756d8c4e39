"""DnCShap within a budget of evaluations, smaller or larger than the whole tree needs.

With a tolerance or a small budget only the regions that matter are divided, level by level: the
credits of a level decide which of its regions are divided further. What is left of the budget
after the tree refines the leaves towards their Shapley values (see ``refinement``). The mean over
several trees, each with its share of the budget, is in ``forest``.
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
from ier_ray.explain.forest import averaged, mean_of
from ier_ray.explain.masking import Masking
from ier_ray.explain.refinement import refining
from ier_ray.explain.regions import Axis, Jitter, RegionTree
from ier_ray.explain.shapley.game import Scores

FirstAxis = Literal[Axis, "both"]
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True)
class Cuts:
    """How one tree cuts the image; without jitter, all regions in their middles."""

    first_axis: Axis
    jitter: Jitter | None = None


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
        trees: how many trees of each first axis are explained, and their mean taken; they share
            the budget equally. The first is cut in the middles, the others by ``jitter``.
        jitter: how far cuts are moved, see :class:`~ier_ray.explain.regions.Jitter`.
        seed: seed of the cuts that are moved, and of the random coalitions among which the refining
            ones are chosen.
    """

    depth: int
    contexts: Contexts = "both"
    variant: Variant = "normalized"
    tolerance: float = 0.0
    budget: int | None = None
    target: int | None = None
    first_axis: FirstAxis = "x"
    trees: int = 1
    jitter: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        require_defined(self.variant, self.contexts)
        if self.variant == "paper" and self.trees > 1:
            raise ValueError(
                f"variant paper is defined for trees 1, got {self.trees}: its credits do not sum "
                f"to those of larger regions"
            )
        minimum = 2 * len(self._cuts())
        if self.budget is not None and self.budget < minimum:
            among = f" and trees {self.trees}" if self.trees > 1 else ""
            raise ValueError(
                f"budget must be >= {minimum} with first_axis {self.first_axis}{among}, "
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
        if self.trees > 1:
            return self._forest(shape, by_level, interrupt)
        if self.first_axis == "both":
            return self._along_both(shape, by_level, interrupt)
        return self._along(Cuts(self.first_axis), shape, by_level, interrupt)

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
        share, total = self._with_share(), 0.0
        for cuts in self._cuts():
            plan = share._whole(shape, cuts)
            total += float(np.sort(costs(plan.masking))[::-1][: share.budget].sum())
            if share.budget is not None and share._refines(plan):
                total += (share.budget - len(plan)) * whole
        return total

    def most_evaluations(self, shape: tuple[int, int]) -> int:
        """Most masked images that an image of a shape needs."""
        share, total = self._with_share(), 0
        for cuts in self._cuts():
            plan = share._whole(shape, cuts)
            if share.budget is None:
                total += len(plan)
            else:
                total += share.budget if share._refines(plan) else min(share.budget, len(plan))
        return total

    def _refines(self, plan: Plan) -> bool:
        """Whether the budget suffices to refine the leaves of a whole tree."""
        if self.budget is None or self.budget < len(plan) + 2:
            return False
        return (self.variant, self.contexts) == ("normalized", "both") and len(plan) > 2

    def _cuts(self) -> list[Cuts]:
        """How the image is cut by each tree, the first one first."""
        axes = AXES if self.first_axis == "both" else (self.first_axis,)
        moved = [Jitter(self.jitter, self.seed, number) for number in range(1, self.trees)]
        return [Cuts(axis, jitter) for jitter in (None, *moved) for axis in axes]

    def _with_share(self) -> AnytimeExplainer:
        """The algorithm of each tree, with its share of the budget."""
        if self.budget is None:
            return self
        return replace(self, budget=self.budget // len(self._cuts()), trees=1, first_axis="x")

    def _forest(self, shape: tuple[int, int], by_level: bool, interrupt: Interrupt) -> Demands:
        """Explain with every tree; after each, the mean of those so far is finished."""
        share, found = self._with_share(), list[Explanation]()
        for cuts in self._cuts():
            demands = share._along(cuts, shape, by_level and not found, interrupt)
            if found:
                demands = after(mean_of(found), demands)
            found.append((yield from demands))
        return mean_of(found)

    def _along_both(self, shape: tuple[int, int], by_level: bool, interrupt: Interrupt) -> Demands:
        """Explain with both orders of the axes."""
        across, down = (
            self._with_share()._along(cuts, shape, by_level, interrupt) for cuts in self._cuts()
        )
        first = yield from across
        second = yield from after(first, down)
        return averaged(first, second)

    def _along(
        self, cuts: Cuts, shape: tuple[int, int], by_level: bool, interrupt: Interrupt
    ) -> Demands:
        """Explain with one tree."""
        plan = self._whole(shape, cuts) if self.tolerance == 0 else None
        if plan is None or (self.budget is not None and self.budget < len(plan)):
            plan, scores = yield from self._grown(shape, cuts)
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

    def _whole(self, shape: tuple[int, int], cuts: Cuts) -> Plan:
        """The plan of the tree in which all regions are divided."""
        tree = RegionTree.halving(
            *shape, depth=self.depth, first_axis=cuts.first_axis, jitter=cuts.jitter
        )
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
        self, shape: tuple[int, int], cuts: Cuts
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
            tree = tree.divided(nodes, first_axis=cuts.first_axis, jitter=cuts.jitter)
            plan = Plan.of(tree, self.contexts)
            new = yield Demand(plan.masking[len(scores) :], finished)
            scores = np.concatenate([scores, new])
        return plan, scores
