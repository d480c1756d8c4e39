"""Shapley values of any game: exact from all coalitions, or estimated from some of them.

A game scores coalitions of players. Nothing here depends on what the players stand for.
"""

from ier_ray.explain.shapley.estimator import Estimate, estimate_shapley
from ier_ray.explain.shapley.exact import exact_shapley
from ier_ray.explain.shapley.game import Coalitions, Game, Scores, every_coalition

__all__ = [
    "Coalitions",
    "Estimate",
    "Game",
    "Scores",
    "estimate_shapley",
    "every_coalition",
    "exact_shapley",
]
