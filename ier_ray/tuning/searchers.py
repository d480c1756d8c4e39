"""What to try next: a pure function of the space, the trials so far, and a seed.

A proposal needs no state but the records, so that a sweep that was interrupted goes on as if it had
not been. Each is drawn with a seed of its own: a search that starts again does not repeat itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import TrialState

from ier_ray.errors import SettingsError
from ier_ray.tuning.space import Point, Range, Space
from ier_ray.tuning.study import as_value, distributions, empty_study, point_drawn
from ier_ray.tuning.trials import TrialRecord

Searcher = Literal["tpe", "random", "grid"]

ATTEMPTS = 20
"""Draws that are repeated because their point has been tried, before one is chosen at random."""


def require_trials(space: Space, searcher: Searcher, trials: int) -> None:
    """Raise :class:`SettingsError` if a space does not have as many points as there are trials.

    A grid has exactly as many.
    """
    size = float(len(space.grid())) if searcher == "grid" else space.size
    if trials > size:
        raise SettingsError(
            f"search.trials is {trials}, but search.space has {size:g} points: lower it"
        )
    if searcher == "grid" and trials < size:
        raise SettingsError(
            f"search.trials is {trials}, but the grid of search.space has {size:g} points: set it "
            f"to that, or use search.searcher random"
        )


def propose(
    space: Space, searcher: Searcher, records: Sequence[TrialRecord], *, seed: int
) -> Point:
    """The point of the next trial; the first is the base setting.

    Args:
        records: of all trials that have been proposed, in that order.
    """
    if not records:
        return space.base_point
    if searcher == "grid":
        return space.grid()[len(records)]
    tried = [record.point for record in records]
    for attempt in range(ATTEMPTS):
        drawn = np.random.SeedSequence((seed, len(records), attempt))
        point = drawn_point(space, searcher, records, int(drawn.generate_state(1)[0]))
        if point not in tried:
            return point
    return untried_point(space, tried, seed)


def drawn_point(
    space: Space, searcher: Searcher, records: Sequence[TrialRecord], seed: int
) -> Point:
    """A point that Optuna draws."""
    study = empty_study(sampler=sampler(searcher, seed))
    study.add_trials([as_told(space, record) for record in records])
    drawn = study.ask(distributions(space)).params
    return {one.name: as_value(one, drawn[one.name]) for one in space.parameters}


def untried_point(space: Space, tried: Sequence[Point], seed: int) -> Point:
    """Any point of a small space that no trial has."""
    values = [
        list(range(int(one.low), int(one.high) + 1)) if isinstance(one, Range) else one.ends
        for one in space.parameters
    ]
    shape = [len(some) for some in values]
    names = [one.name for one in space.parameters]
    for index in np.random.default_rng((seed, len(tried))).permutation(int(np.prod(shape))):
        places = np.unravel_index(index, shape)
        point = {n: some[i] for n, some, i in zip(names, values, places, strict=True)}
        if point not in tried:
            return point
    raise AssertionError("require_trials allows no more trials than points")


def sampler(searcher: Searcher, seed: int) -> Any:
    """Optuna's sampler. TPE takes trials that still run for bad ones, so as not to repeat them."""
    if searcher == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def as_told(space: Space, record: TrialRecord) -> Any:
    """What Optuna is told of a trial: its best score so far, and whether it was cut short.

    A failed trial is the worst of those that were cut short.
    """
    common = point_drawn(space, record)
    match record.state:
        case "finished":
            return optuna.create_trial(state=TrialState.COMPLETE, value=record.score, **common)
        case "stopped":
            reached = {record.time: record.score}
            return optuna.create_trial(
                state=TrialState.PRUNED, intermediate_values=reached, **common
            )
        case "failed":
            return optuna.create_trial(state=TrialState.PRUNED, **common)
        case "unfinished":
            return optuna.create_trial(state=TrialState.RUNNING, **common)
