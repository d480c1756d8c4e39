"""Exact Shapley values, from every coalition."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from ier_ray.explain.coalitions import Game, every_coalition
from ier_ray.explain.evaluators import Scores


def exact_shapley(game: Game, regions: int) -> Scores:
    """Shapley values ``(n, K)`` of up to 20 regions, by ``2**n`` evaluations.

    Raises:
        ValueError: for more regions.
    """
    return shapley_of_all(game(every_coalition(regions)))


def shapley_of_all(scores: Scores) -> Scores:
    """Shapley values ``(n, K)`` from the scores ``(2**n, K)`` of :func:`every_coalition`'s rows."""
    players = int(np.log2(len(scores)))
    rows = np.arange(len(scores))
    sizes = (rows[:, None] >> np.arange(players) & 1).sum(1)
    without = np.arange(players)  # members of a coalition that a region joins
    share = np.exp(gammaln(without + 1) + gammaln(players - without) - gammaln(players + 1))
    values = np.empty((players, scores.shape[1]))
    for player in range(players):
        absent = rows[rows >> player & 1 == 0]
        gains = scores[absent | 1 << player] - scores[absent]
        values[player] = share[sizes[absent]] @ gains
    return values
