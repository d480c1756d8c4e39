"""Exact incremental inference: compute only what masking changes.

A masked image differs from a background (the baseline, or the image itself) inside one rectangle.
Through convolutions and pools only a window around it changes. Only that window is computed; the
surroundings that it needs are cut from the background's activations, which are computed once.

Read the files in this order: operations, windows, readout, tracing, activations, batch, evaluator.
"""

from ier_ray.explain.incremental.evaluator import (
    ExactInference,
    IncrementalEvaluator,
    exact_evaluator,
)
from ier_ray.explain.incremental.tracing import TracedNetwork, UntraceableError, trace

__all__ = [
    "ExactInference",
    "IncrementalEvaluator",
    "TracedNetwork",
    "UntraceableError",
    "exact_evaluator",
    "trace",
]
