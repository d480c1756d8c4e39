"""DnCShap: Shapley values by recursive halving of the image (paper section 3.4.1)."""

from ier_ray.explain.anytime import AnytimeExplainer
from ier_ray.explain.dncshap import Contexts, Explanation, explain
from ier_ray.explain.evaluators import DenseEvaluator, Evaluator
from ier_ray.explain.incremental import (
    ExactInference,
    IncrementalEvaluator,
    exact_evaluator,
)
from ier_ray.explain.masking import Masking
from ier_ray.explain.regions import RegionTree

__all__ = [
    "AnytimeExplainer",
    "Contexts",
    "DenseEvaluator",
    "Evaluator",
    "ExactInference",
    "Explanation",
    "IncrementalEvaluator",
    "Masking",
    "RegionTree",
    "exact_evaluator",
    "explain",
]
