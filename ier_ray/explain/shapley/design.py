"""Experimental design: which pairs of complementary coalitions to score, before any is scored."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from ier_ray.explain.shapley.game import MOST_PLAYERS, Coalitions, every_coalition
from ier_ray.explain.shapley.kernel import Floats, OddKernel

INTERACTION_VARIANCE, LENGTH_SCALE = 0.2, 0.5
"""Hyperparameters of the prior that a design assumes."""
CANDIDATES_PER_CHOICE, FEWEST_CANDIDATES = 4, 1024
"""Candidate pairs drawn for each pair to be chosen, and the fewest drawn in all."""
MOST_ENUMERATED = 2**11
"""Enumerate all pairs up to this many, draw candidates beyond."""

MOST_GREEDY = 512
"""Most pairs that are chosen one after another."""
MOST_KEPT = 16
"""Designs that are kept."""

_KEPT: OrderedDict[tuple[object, ...], Coalitions] = OrderedDict()
_KEPT_LOCK = Lock()


def signs(coalitions: Coalitions) -> Floats:
    """1 for the players of a coalition, −1 for all others."""
    return np.where(coalitions, 1.0, -1.0)


def designed(
    known: Coalitions, count: int, seed: int, interrupt: Callable[[], None] = lambda: None
) -> Coalitions:
    """:func:`best_pairs` with a seed; the latest designs are kept.

    A design depends on no score, so explanations of different images with the same tree and budget
    have the same.
    """
    key = known.shape, known.tobytes(), count, seed
    with _KEPT_LOCK:
        if key in _KEPT:
            _KEPT.move_to_end(key)
            return _KEPT[key]
    chosen = best_pairs(known, count, np.random.default_rng(seed), interrupt)
    chosen.flags.writeable = False
    with _KEPT_LOCK:
        _KEPT[key] = chosen
        while len(_KEPT) > MOST_KEPT:
            _KEPT.popitem(last=False)
    return chosen


def best_pairs(
    known: Coalitions,
    count: int,
    generator: np.random.Generator,
    interrupt: Callable[[], None] = lambda: None,
) -> Coalitions:
    """``count`` coalitions that, with their complements, tell most about the Shapley values.

    Greedy: each is the candidate that most reduces the posterior variance of the Shapley values,
    summed over players, given all before it; ties go to the first. The choice depends on no score.
    The work grows with the cube of the pairs: beyond ``MOST_GREEDY``, candidates follow as drawn.

    Args:
        known: ``(P, n)``, one coalition of each pair that has been scored.
        count: pairs to choose; if fewer are left, all of them.
        generator: draws the candidates.
        interrupt: called before each choice; an exception that it raises stops the choosing.
    """
    players = known.shape[1]
    if players <= MOST_PLAYERS and count >= 2 ** (players - 1) - len(known):
        return not_among(known, every_coalition(players)[: 2 ** (players - 1)])
    drawn = draw_pairs(players, max(CANDIDATES_PER_CHOICE * count, FEWEST_CANDIDATES), generator)
    candidates = not_among(known, drawn)
    count = min(count, len(candidates))
    considered = candidates[: max(CANDIDATES_PER_CHOICE * MOST_GREEDY, FEWEST_CANDIDATES)]
    order = greedy_order(
        OddKernel(players, INTERACTION_VARIANCE, LENGTH_SCALE),
        signs(known),
        signs(considered),
        min(count, MOST_GREEDY),
        interrupt,
    )
    rest = np.setdiff1d(np.arange(len(candidates)), order)[: count - len(order)]
    chosen: Coalitions = candidates[np.concatenate([order, rest])]
    return chosen


def not_among(known: Coalitions, candidates: Coalitions) -> Coalitions:
    """The candidates whose pair is not known, one for each pair, in their order."""
    keys = pair_keys(np.concatenate([known, candidates]))
    _, first = np.unique(keys, return_index=True, axis=0)
    return candidates[np.sort(first[first >= len(known)]) - len(known)]


def greedy_order(
    kernel: OddKernel,
    known: Floats,
    candidates: Floats,
    count: int,
    interrupt: Callable[[], None],
) -> NDArray[np.int64]:
    """Indices of ``count`` candidates in the greedy order of :func:`best_pairs`.

    A Cholesky factorization with pivots: first the known points, then always the candidate that
    most reduces the posterior variance of the Shapley values.
    """
    points = np.concatenate([known, candidates])
    variance = kernel.covariance(points[:1], points[:1])[0, 0] * np.ones(len(points))
    smallest = 1e-9 * variance[0]  # a pair of less variance is determined by those before
    covariance = kernel.shapley_covariance(points)
    factors = np.empty((len(known) + count, len(points)))
    chosen: list[int] = []
    for step in range(len(known) + count):
        interrupt()
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
    return np.array(chosen[len(known) :], dtype=np.int64) - len(known)


def draw_pairs(players: int, count: int, generator: np.random.Generator) -> Coalitions:
    """Random coalitions of 1 to n − 1 players; for few players, one of every pair instead.

    The distribution of sizes is the geometric mean of KernelSHAP's, which favors the smallest and
    the largest, and that of uniformly drawn coalitions, which favors n/2. Rows can repeat.
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
