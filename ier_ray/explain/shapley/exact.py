"""Exact Shapley values, from every coalition."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from ier_ray.explain.shapley.game import Game, Scores, every_coalition


def exact_shapley(game: Game, players: int) -> Scores:
    """Shapley values ``(n, K)`` of up to 20 players, by ``2**n`` evaluations.

    Raises:
        ValueError: for more players.
    """
    return shapley_of_all(game(every_coalition(players)))


def shapley_of_all(scores: Scores) -> Scores:
    """Shapley values ``(n, K)`` from the scores ``(2**n, K)`` of :func:`every_coalition`'s rows.

    Source: Shapley, A Value for n-Person Games, 1953; Eq. 8 of the paper with its missing |S|!.
    """
    players = int(np.log2(len(scores)))
    rows = np.arange(len(scores))
    sizes = (rows[:, None] >> np.arange(players) & 1).sum(1)
    size = np.arange(players)  # of the coalition that a player joins
    weight = np.exp(gammaln(size + 1) + gammaln(players - size) - gammaln(players + 1))
    values = np.empty((players, scores.shape[1]))
    for player in range(players):
        without = rows[rows >> player & 1 == 0]
        gains = scores[without | 1 << player] - scores[without]
        values[player] = weight[sizes[without]] @ gains
    return values
