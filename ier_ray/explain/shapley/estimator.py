"""Shapley values estimated from some of a game's coalitions.

The odd part of the game has a Gaussian-process prior (see ``kernel``) and is observed, without
noise, at pairs of complementary coalitions. The estimate is the posterior mean of the Shapley
values: it sums to v(all) − v(none) and, once every player has been scored alone, is exact for
additive and pairwise games (to about 1e-6). The prior's interaction variance and length scale are
selected for each class by the marginal likelihood of the scores.

The pairs are those that tell most about the Shapley values (see ``design``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from ier_ray.explain.shapley.design import best_pairs, not_among, signs
from ier_ray.explain.shapley.exact import shapley_of_all
from ier_ray.explain.shapley.game import Coalitions, Game, Scores
from ier_ray.explain.shapley.kernel import Floats, OddKernel

INTERACTION_VARIANCES = (1e-6, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
LENGTH_SCALES = (1.6**-0.5, 3.2**-0.5, 6.4**-0.5)
"""Hyperparameters among which the marginal likelihood selects."""
MOST_SELECTING = 1024
"""Most pairs on which the hyperparameters are selected."""
JITTER = 1e-9
"""Added to the diagonal, relative to the prior variance: scores have rounding errors."""


@dataclass(frozen=True)
class Estimate:
    """Estimated Shapley values.

    Attributes:
        values: ``(n, K)``; sum to ``full − empty``.
        deviations: ``(n, K)``; posterior standard deviation of each value under the selected
            prior; 0 if every coalition was scored.
        full, empty: ``(K,)``; scores of all players, and of none.
        evaluations: coalitions scored.
    """

    values: Scores
    deviations: Scores
    full: NDArray[np.float64]
    empty: NDArray[np.float64]
    evaluations: int


@dataclass(frozen=True)
class Pairs:
    """Scores of coalitions and their complements; the first coalition has all players.

    Attributes:
        coalitions: ``(P, n)``.
        scores, complement_scores: ``(P, K)``.
    """

    coalitions: Coalitions
    scores: Scores
    complement_scores: Scores

    @classmethod
    def scored(cls, game: Game, coalitions: Coalitions) -> Pairs:
        """Score coalitions and their complements in one call."""
        scores = game(np.concatenate([coalitions, ~coalitions]))
        return cls(coalitions, scores[: len(coalitions)], scores[len(coalitions) :])

    def __add__(self, more: Pairs) -> Pairs:
        return Pairs(
            np.concatenate([self.coalitions, more.coalitions]),
            np.concatenate([self.scores, more.scores]),
            np.concatenate([self.complement_scores, more.complement_scores]),
        )

    def __len__(self) -> int:
        return len(self.coalitions)

    def table(self) -> Scores:
        """Scores ``(2**n, K)`` in the order of ``every_coalition``, from all pairs of a game."""
        row = self.coalitions @ (1 << np.arange(self.coalitions.shape[1]))
        scores = np.empty((2 * len(self), self.scores.shape[1]))
        scores[row], scores[len(scores) - 1 - row] = self.scores, self.complement_scores
        return scores


def estimate_shapley(
    game: Game, players: int, *, budget: int, generator: np.random.Generator
) -> Estimate:
    """Shapley values of ``players`` players from at most ``budget`` evaluations.

    Raises:
        ValueError: for a budget below 2: the scores of all players and of none are needed.
    """
    if budget < 2:
        raise ValueError(
            f"budget must be >= 2, got {budget}: all players and none are always scored"
        )
    everybody = np.ones((1, players), dtype=bool)
    alone = not_among(everybody, np.eye(players, dtype=bool))[: budget // 2 - 1]
    known = Pairs.scored(game, np.concatenate([everybody, alone]))
    return estimate_from(known, game, budget=budget, generator=generator)


def estimate_from(
    known: Pairs, game: Game, *, budget: int, generator: np.random.Generator
) -> Estimate:
    """An estimate from known pairs and as many more as the budget allows."""
    more = best_pairs(known.coalitions, budget // 2 - len(known), generator)
    return posterior_estimate(known + Pairs.scored(game, more) if len(more) else known)


def posterior_estimate(pairs: Pairs, interrupt: Callable[[], None] = lambda: None) -> Estimate:
    """The estimate from scored pairs.

    Args:
        interrupt: called now and then; an exception that it raises stops the computation.
    """
    values, deviations = posterior_shapley(pairs, interrupt)
    full, empty = pairs.scores[0], pairs.complement_scores[0]
    return Estimate(values, deviations, full, empty, evaluations=2 * len(pairs))


def posterior_shapley(
    pairs: Pairs, interrupt: Callable[[], None] = lambda: None
) -> tuple[Scores, Scores]:
    """Posterior mean and standard deviation of the Shapley values, each ``(n, K)``.

    The work grows with the cube of the pairs: the hyperparameters are selected on the first
    ``MOST_SELECTING`` of them.
    """
    players = pairs.coalitions.shape[1]
    if np.log2(len(pairs)) == players - 1:  # every coalition was scored
        values = shapley_of_all(pairs.table())
        return values, np.zeros_like(values)
    points, odd = signs(pairs.coalitions), (pairs.scores - pairs.complement_scores) / 2
    classes = odd.shape[1]
    best, chosen = np.full(classes, -np.inf), np.zeros(classes, dtype=np.int64)
    values, deviations = np.zeros((2, players, classes))
    grid = [OddKernel(players, *each) for each in product(INTERACTION_VARIANCES, LENGTH_SCALES)]
    for index, kernel in enumerate(grid):
        interrupt()
        mean, deviation, likelihood = posterior(
            kernel, points[:MOST_SELECTING], odd[:MOST_SELECTING]
        )
        better = likelihood > best
        best[better], chosen[better] = likelihood[better], index
        values[:, better], deviations[:, better] = mean[:, better], deviation[:, better]
    for index in np.unique(chosen) if len(points) > MOST_SELECTING else ():
        interrupt()
        mean, deviation, _ = posterior(grid[index], points, odd)
        there = chosen == index
        values[:, there], deviations[:, there] = mean[:, there], deviation[:, there]
    rounding = 2 * odd[0] - values.sum(0)
    return values + rounding / players, deviations


def posterior(
    kernel: OddKernel, points: Floats, odd: Floats
) -> tuple[Floats, Floats, NDArray[np.float64]]:
    """Mean and deviation ``(n, K)`` of the Shapley values, and each class's log likelihood.

    The kernel is scaled by the factor that maximizes the likelihood, which has a closed form.
    """
    covariance = kernel.covariance(points, points)
    covariance[np.diag_indices_from(covariance)] *= 1 + JITTER
    factor = cholesky(covariance, lower=True)
    weights = cho_solve((factor, True), odd)
    shapley_covariance = kernel.shapley_covariance(points)
    scale = np.maximum((odd * weights).mean(0), np.finfo(np.float64).tiny)
    likelihood = -np.log(np.diag(factor)).sum() - len(odd) / 2 * np.log(scale)
    explained = (shapley_covariance * cho_solve((factor, True), shapley_covariance.T).T).sum(1)
    variance = np.maximum(kernel.shapley_variance - explained, 0)
    return shapley_covariance @ weights, np.outer(np.sqrt(variance), np.sqrt(scale)), likelihood
