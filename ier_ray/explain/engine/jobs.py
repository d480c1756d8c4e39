"""What an engine is given to compute."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass

from torch import Tensor

from ier_ray.explain.demands import Demand
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.engine.shared import Logits, SharedNetwork
from ier_ray.explain.evaluators import Interrupt, ScoreFunction
from ier_ray.explain.masking import MaskedImages
from ier_ray.explain.shapley.game import Scores

Result = Explanation | Scores
"""What a job computes: an explanation, or just scores."""

Lend = Callable[[MaskedImages, Callable[[Logits | None], None]], None]
"""Asks somebody to score masked images of the job's image, and returns at once. The function is
given the logits, from any thread; None if nobody scores them."""


@dataclass(frozen=True)
class Job:
    """An explanation to compute.

    Attributes:
        key: equal for jobs with equal results, which are computed once.
        image_key: equal for equal images and baselines of one network.
        network: scores the masked images.
        image, baseline: normalized, ``(C, H, W)``.
        demands: starts the algorithm; it calls the interrupt now and then.
        score: maps logits to the scores that are explained.
        macs: predicted cost.
        lend: asks somebody else to score masked images, if there is anybody.
        is_help: whether it only scores rows for an explanation of another engine.
    """

    key: Hashable
    image_key: Hashable
    network: SharedNetwork
    image: Tensor
    baseline: Tensor
    demands: Callable[[Interrupt], Generator[Demand, Scores, Result]]
    score: ScoreFunction
    macs: float
    lend: Lend | None = None
    is_help: bool = False
