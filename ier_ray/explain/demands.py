"""An explanation as a dialog: masked images are demanded, scores are given back.

An algorithm is a generator of demands. Who runs it decides where and with what else the masked
images are scored: an evaluator at once, or an engine together with those of other explanations.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial

from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.evaluators import Evaluator
from ier_ray.explain.masking import MaskedImages
from ier_ray.explain.shapley.game import Scores

Finished = Callable[[], Explanation]
"""Makes the explanation whose levels are finished."""


@dataclass(frozen=True)
class Demand:
    """Masked images to score.

    Attributes:
        masking: the masked images.
        finished: the explanation as deep as its levels are finished; None before the first.
    """

    masking: MaskedImages
    finished: Finished | None = None


Demands = Generator[Demand, Scores, Explanation]
"""Yields what to score, is sent the scores ``(M, K)`` of it, and returns the explanation."""


def answered(demands: Demands, evaluator: Evaluator) -> Explanation:
    """The explanation, with the evaluator's scores for each demand."""
    try:
        demand = next(demands)
        while True:
            demand = demands.send(evaluator(demand.masking))
    except StopIteration as end:
        explanation: Explanation = end.value
        return replace(explanation, inference=evaluator.inference)


def after(finished: Explanation, demands: Demands) -> Demands:
    """The same demands, made when an explanation of the image is finished already."""
    try:
        demand = next(demands)
        while True:
            demand = demands.send((yield replace(demand, finished=lambda: finished)))
    except StopIteration as end:
        explanation: Explanation = end.value
        return explanation


def recorded(demands: Demands, inference: str) -> Demands:
    """The same demands; explanations say by which inference their scores were computed."""

    def named(explanation: Explanation) -> Explanation:
        return replace(explanation, inference=inference)

    try:
        demand = next(demands)
        while True:
            finished = demand.finished
            if finished is not None:
                demand = replace(demand, finished=partial(_called, named, finished))
            demand = demands.send((yield demand))
    except StopIteration as end:
        return named(end.value)


def _called(named: Callable[[Explanation], Explanation], finished: Finished) -> Explanation:
    return named(finished())


def scored(masking: MaskedImages) -> Generator[Demand, Scores, Scores]:
    """Nothing but the scores of masked images."""
    return (yield Demand(masking))
