"""More evaluations than a tree has: Shapley values of its leaves, closer with each.

The odd part of the game is taken for a draw of a Gaussian process (see ``interactions``) that is
observed, without noise, at pairs of complementary coalitions. Its expected Shapley values are the
answer: they sum to v(image) − v(baseline) and, once every region was seen alone, equal the true
ones of additive and pairwise games (to about 1e-6). How strong interactions are is chosen by the
likelihood of the scores, for each class.

The pairs are those that say most about the Shapley values (see ``designs``). The tree of
contexts ``both`` is such a list of pairs as well: what it scored is joined, not lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from ier_ray.explain.coalitions import Game, tree_coalitions
from ier_ray.explain.designs import best_pairs, not_among, pair_keys, signs
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.evaluators import Scores
from ier_ray.explain.exact import shapley_of_all
from ier_ray.explain.interactions import Floats, OddPrior
from ier_ray.explain.masking import Coalitions
from ier_ray.explain.regions import RegionTree

SHARES = (1e-6, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
REACHES = (1.6, 3.2, 6.4)
"""Priors that the likelihood chooses from."""
JITTER = 1e-9
"""Of the prior's variance: scores are exact only to rounding."""


@dataclass(frozen=True)
class Estimate:
    """Shapley values of regions, from some of their coalitions.

    Attributes:
        values: ``(n, K)``; sum to ``full − empty``.
        deviations: ``(n, K)``; standard deviation of each value under the chosen prior: what the
            scores leave open if the game is no wilder than they suggest. 0 when every coalition
            was scored.
        full, empty: ``(K,)``; v(image) and v(baseline).
        evaluations: masked images scored.
    """

    values: Scores
    deviations: Scores
    full: NDArray[np.float64]
    empty: NDArray[np.float64]
    evaluations: int


@dataclass(frozen=True)
class Pairs:
    """Scores of coalitions and their complements; the first coalition is everything.

    Attributes:
        coalitions: ``(P, n)``.
        shown, hidden: ``(P, K)``; scores of the coalitions, and of their complements.
    """

    coalitions: Coalitions
    shown: Scores
    hidden: Scores

    @classmethod
    def played(cls, game: Game, coalitions: Coalitions) -> Pairs:
        """Score coalitions and their complements in one call."""
        scores = game(np.concatenate([coalitions, ~coalitions]))
        return cls(coalitions, scores[: len(coalitions)], scores[len(coalitions) :])

    @classmethod
    def of_tree(cls, plan: Plan, scores: Scores) -> Pairs:
        """The pairs among a tree's evaluations, the root's first."""
        coalitions = tree_coalitions(plan.tree, plan.masking)
        _, pair = np.unique(pair_keys(coalitions), return_inverse=True, axis=0)
        by_pair = np.argsort(pair.ravel(), kind="stable").reshape(-1, 2)
        shown, hidden = by_pair[by_pair[:, 0].argsort()].T  # the plan's order: the root comes first
        return cls(coalitions[shown], scores[shown], scores[hidden])

    def __add__(self, more: Pairs) -> Pairs:
        return Pairs(
            np.concatenate([self.coalitions, more.coalitions]),
            np.concatenate([self.shown, more.shown]),
            np.concatenate([self.hidden, more.hidden]),
        )

    def __len__(self) -> int:
        return len(self.coalitions)

    def table(self) -> Scores:
        """Scores ``(2**n, K)`` in the order of ``every_coalition``, once all pairs are there."""
        row = self.coalitions @ (1 << np.arange(self.coalitions.shape[1]))
        scores = np.empty((2 * len(self), self.shown.shape[1]))
        scores[row], scores[len(scores) - 1 - row] = self.shown, self.hidden
        return scores


def estimate_shapley(
    game: Game, regions: int, *, budget: int, generator: np.random.Generator
) -> Estimate:
    """Shapley values of ``regions`` players by at most ``budget`` evaluations.

    Raises:
        ValueError: when the budget is below 2, v(image) and v(baseline).
    """
    if budget < 2:
        raise ValueError(f"budget must be >= 2, got {budget}: two evaluations show all and nothing")
    everything = np.ones((1, regions), dtype=bool)
    alone = not_among(everything, np.eye(regions, dtype=bool))[: budget // 2 - 1]
    known = Pairs.played(game, np.concatenate([everything, alone]))
    return continued(game, known, budget=budget, generator=generator)


def continued(game: Game, known: Pairs, *, budget: int, generator: np.random.Generator) -> Estimate:
    """An estimate from known pairs and as many more as the budget allows."""
    more = best_pairs(known.coalitions, budget // 2 - len(known), generator)
    pairs = known + Pairs.played(game, more) if len(more) else known
    values, deviations = expected_shapley(pairs)
    return Estimate(values, deviations, pairs.shown[0], pairs.hidden[0], 2 * len(pairs))


def expected_shapley(pairs: Pairs) -> tuple[Scores, Scores]:
    """Expected Shapley values and their standard deviations, each ``(n, K)``."""
    players = pairs.coalitions.shape[1]
    if np.log2(len(pairs)) == players - 1:  # nothing is left to expect
        values = shapley_of_all(pairs.table())
        return values, np.zeros_like(values)
    points, odd = signs(pairs.coalitions), (pairs.shown - pairs.hidden) / 2
    classes = odd.shape[1]
    best = np.full(classes, -np.inf)
    values, deviations = np.zeros((2, players, classes))
    for share, reach in product(SHARES, REACHES):
        fitted, spread, likelihood = posterior(OddPrior(players, share, reach), points, odd)
        better = likelihood > best
        best[better] = likelihood[better]
        values[:, better], deviations[:, better] = fitted[:, better], spread[:, better]
    rounding = 2 * odd[0] - values.sum(0)
    return values + rounding / players, deviations


def posterior(
    prior: OddPrior, points: Floats, odd: Floats
) -> tuple[Floats, Floats, NDArray[np.float64]]:
    """Mean and deviation ``(n, K)`` of the Shapley values, and each class's log likelihood.

    The prior's variance is a factor that the likelihood chooses, in closed form.
    """
    covariance = prior.covariance(points, points)
    covariance[np.diag_indices_from(covariance)] *= 1 + JITTER
    factor = cholesky(covariance, lower=True)
    weights = cho_solve((factor, True), odd)
    told = prior.shapley(points)
    scale = np.maximum((odd * weights).mean(0), np.finfo(np.float64).tiny)
    likelihood = -np.log(np.diag(factor)).sum() - len(odd) / 2 * np.log(scale)
    explained = (told * cho_solve((factor, True), told.T).T).sum(1)
    left = np.sqrt(np.maximum(prior.variance - explained, 0))
    return told @ weights, np.outer(left, np.sqrt(scale)), likelihood


def node_credits(tree: RegionTree, leaf_values: Scores) -> Scores:
    """Credits of all nodes ``(N, K)``: each the sum of its leaves'."""
    credit = np.zeros((len(tree), leaf_values.shape[1]))
    credit[tree.leaves] = leaf_values
    for node in range(len(tree) - 1, 0, -1):
        credit[tree.parent[node]] += credit[node]
    return credit
