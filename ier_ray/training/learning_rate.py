"""The learning rate of a step: a pure function of the settings and of where the run stands."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ier_ray.training.sections import OptimizerSettings

PLATEAU_FACTOR = 0.5
"""Factor on the learning rate at the end of each plateau."""


def learning_rate(
    settings: OptimizerSettings, *, step: int, progress: float, scores: Sequence[float]
) -> float:
    """Learning rate of a step, before the factor of the trunk.

    A resumed run continues with the learning rates of an uninterrupted one: nothing is kept
    between steps.

    Args:
        step: optimizer steps taken before this one.
        progress: fraction of the run's epochs that was trained before this step, in [0, 1).
        scores: the value of the selection criterion after each finished epoch.
    """
    factor = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    if settings.schedule == "cosine":
        factor *= (1 + math.cos(math.pi * progress)) / 2
    elif settings.schedule == "plateau":
        factor *= plateau_factor(scores, patience=settings.plateau_patience)
    return settings.learning_rate * factor


def plateau_factor(
    scores: Sequence[float], *, patience: int, factor: float = PLATEAU_FACTOR
) -> float:
    """``factor`` to the power of the number of plateaus so far.

    A plateau is ``patience`` epochs in a row that all failed to exceed the best score of the epochs
    before; the next one is counted from its end.
    """
    best, waited, plateaus = -math.inf, 0, 0
    for score in scores:
        best, waited = (score, 0) if score > best else (best, waited + 1)
        if waited == patience:
            plateaus, waited = plateaus + 1, 0
    return float(factor**plateaus)
