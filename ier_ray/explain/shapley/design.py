"""Experimental design: which pairs of complementary coalitions to score, before any is scored."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from ier_ray.explain.shapley.game import MOST_PLAYERS, Coalitions, every_coalition
from ier_ray.explain.shapley.kernel import Floats, OddKernel

INTERACTION_VARIANCE, LENGTH_SCALE = 0.2, 0.5
"""The prior that designs are made for."""
CANDIDATES_PER_CHOICE, FEWEST_CANDIDATES = 4, 1024
"""Candidate pairs drawn for each that is chosen, and at least in all."""
MOST_ENUMERATED = 2**11
"""Enumerate all pairs up to this many, draw candidates beyond."""


def signs(coalitions: Coalitions) -> Floats:
    """1 where a player belongs, −1 elsewhere."""
    return np.where(coalitions, 1.0, -1.0)


def best_pairs(known: Coalitions, count: int, generator: np.random.Generator) -> Coalitions:
    """``count`` coalitions that with their complements say most about all Shapley values.

    Each in turn is the candidate that most reduces the summed posterior variance of the Shapley
    values, given all before it; ties go to the first. The scores themselves play no part.

    Args:
        known: ``(P, n)``, one coalition of each pair that is scored already.
        count: pairs to choose; all that are left where there are fewer.
        generator: draws the candidates.
    """
    players = known.shape[1]
    if players <= MOST_PLAYERS and count >= 2 ** (players - 1) - len(known):
        return not_among(known, every_coalition(players)[: 2 ** (players - 1)])
    drawn = draw_pairs(players, max(CANDIDATES_PER_CHOICE * count, FEWEST_CANDIDATES), generator)
    candidates = not_among(known, drawn)
    kernel = OddKernel(players, INTERACTION_VARIANCE, LENGTH_SCALE)
    order = greedy_order(kernel, signs(known), signs(candidates), min(count, len(candidates)))
    return candidates[order]


def not_among(known: Coalitions, candidates: Coalitions) -> Coalitions:
    """Candidates of pairs that are not known, each pair once, in their order."""
    keys = pair_keys(np.concatenate([known, candidates]))
    _, first = np.unique(keys, return_index=True, axis=0)
    return candidates[np.sort(first[first >= len(known)]) - len(known)]


def greedy_order(kernel: OddKernel, known: Floats, candidates: Floats, count: int) -> list[int]:
    """The first ``count`` rows of ``candidates`` in the order in which they say most.

    A Cholesky factorization that picks its next pivot by the reduction of the Shapley values'
    posterior variance, the known points first.
    """
    points = np.concatenate([known, candidates])
    variance = kernel.covariance(points[:1], points[:1])[0, 0] * np.ones(len(points))
    smallest = 1e-9 * variance[0]  # below it a pair follows from those before
    covariance = kernel.shapley_covariance(points)
    factors = np.empty((len(known) + count, len(points)))
    chosen: list[int] = []
    for step in range(len(known) + count):
        if step < len(known):
            pick = step
        else:
            reduction = (covariance**2).sum(0) / np.maximum(variance, smallest)
            reduction[chosen] = -1
            pick = int(reduction.argmax())
        chosen.append(pick)
        column = kernel.covariance(points[pick : pick + 1], points)[0]
        column -= factors[:step, pick] @ factors[:step]
        scale = np.sqrt(max(variance[pick], smallest))
        factors[step] = column / scale
        covariance -= np.outer(covariance[:, pick] / scale, factors[step])
        variance -= factors[step] ** 2
    return [pick - len(known) for pick in chosen[len(known) :]]


def draw_pairs(players: int, count: int, generator: np.random.Generator) -> Coalitions:
    """Coalitions of every size from 1 to n − 1, sizes near n/2 more often; all where few.

    The sizes' distribution lies between KernelSHAP's, which favors the smallest, and that of
    coalitions as such, most of which have about n/2 players. Rows can repeat.
    """
    if 2 ** (players - 1) <= MOST_ENUMERATED:
        rows = np.arange(1, 2 ** (players - 1))
        listed: Coalitions = (rows[:, None] >> np.arange(players) & 1).astype(bool)
        return listed
    sizes = np.arange(1, players)
    ways = gammaln(players + 1) - gammaln(sizes + 1) - gammaln(players - sizes + 1)
    weights = np.exp((ways - ways.max()) / 2) / np.sqrt(sizes * (players - sizes))
    drawn = generator.choice(sizes, size=count, p=weights / weights.sum())
    ranks = generator.random((count, players)).argsort(1, kind="stable").argsort(1, kind="stable")
    chosen: Coalitions = ranks < drawn[:, None]
    return chosen


def pair_keys(coalitions: Coalitions) -> Coalitions:
    """The coalition of each pair that leaves the last player out."""
    return coalitions ^ coalitions[:, -1:]
