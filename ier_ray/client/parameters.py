"""Parameters of an explanation, as ``ier_ray.serve.schemas`` has them."""

from __future__ import annotations

from typing import Literal, TypedDict


class Parameters(TypedDict, total=False):
    """Those left out, or None, have the values that the service is configured with.

    ``docs/explain.md`` says what they mean.
    """

    preset: Literal["paper", "shapley", "sharp", "quick"] | None
    depth: int
    contexts: Literal["absent", "present", "both"]
    score: Literal["probability", "logit", "log_odds"]
    baseline: str
    variant: Literal["normalized", "proportional", "paper"]
    tolerance: float
    budget: int | None
    first_axis: Literal["x", "y", "both"]
    trees: int
    jitter: float
    seed: int
    precision: Literal["float32", "bfloat16"]
    target: str | None
    """Class to explain; by default the predicted one."""
