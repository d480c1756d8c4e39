"""What is tried next: laws of proposals, and that the search finds what it is shown."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.searchers import Searcher, propose
from ier_ray.tuning.space import Interval, Space
from ier_ray.tuning.trials import State, TrialRecord, trial_name

BASE = TrainSettings.model_validate({"data": {"fer": "a", "ier": "b"}})
WIDE = Space.of(
    {
        "optimizer.learning_rate": Interval(low=1e-5, high=1e-1, log=True),
        "loss.balance": Interval(low=0, high=2),
        "optimizer.schedule": ["constant", "cosine"],
        "optimizer.batch_size": Interval(low=8, high=64),
    },
    BASE,
)
SMALL = Space.of({"loss.balance": [0, 1, 2], "optimizer.batch_size": [8, 16]}, BASE)


def record(
    index: int, point: dict[str, Any], *scores: float, state: State = "finished"
) -> TrialRecord:
    history = [{"epoch": i + 1, "score": score} for i, score in enumerate(scores)]
    return TrialRecord(name=trial_name(index), point=point, state=state, history=history)


def proposals(
    space: Space, searcher: Searcher, count: int, *, seed: int = 0, state: State = "finished"
) -> list[dict[str, Any]]:
    """Points, each tried with a score that is the better the nearer the balance is to 0.5."""
    records: list[TrialRecord] = []
    while len(records) < count:
        point = propose(space, searcher, records, seed=seed)
        score = 1 - abs(point["loss.balance"] - 0.5)
        records.append(record(len(records), point, score, state=state))
    return [one.point for one in records]


@pytest.mark.parametrize("searcher", ["tpe", "random"])
def test_proposals_are_points_of_the_space_the_base_first(searcher: Searcher) -> None:
    points = proposals(WIDE, searcher, 25)
    assert points[0] == WIDE.base_point
    for point in points:
        assert list(point) == list(WIDE.base_point)
        assert all(one.holds(point[one.name]) for one in WIDE.parameters)
        WIDE.settings(point)
    assert {type(point["optimizer.batch_size"]) for point in points} == {int}
    assert {point["optimizer.schedule"] for point in points} == {"constant", "cosine"}
    logs = [math.log10(point["optimizer.learning_rate"]) for point in points]
    assert sum(log < -3 for log in logs) >= 5  # a linear scale would have one in a hundred there


@pytest.mark.parametrize("searcher", ["tpe", "random"])
def test_a_proposal_depends_on_the_records_and_the_seed_alone(searcher: Searcher) -> None:
    whole = proposals(WIDE, searcher, 14)
    assert proposals(WIDE, searcher, 14) == whole
    assert proposals(WIDE, searcher, 14, seed=1) != whole
    assert len({str(point) for point in whole}) == 14


def test_tpe_comes_nearer_to_the_best_than_chance() -> None:
    def far(searcher: Searcher) -> float:
        late = proposals(WIDE, searcher, 40)[25:]
        return sum(abs(point["loss.balance"] - 0.5) for point in late) / len(late)

    assert far("tpe") < 0.6 * far("random")


def test_trials_that_run_are_not_proposed_again() -> None:
    """Without their values, TPE would propose the neighborhood of the best again and again."""
    done = [
        record(i, {**WIDE.base_point, "loss.balance": i / 10}, 1 - abs(i / 10 - 0.5))
        for i in range(20)
    ]
    records, running = list(done), []
    for _ in range(8):
        running.append(propose(WIDE, "tpe", records, seed=0))
        records.append(record(len(records), running[-1], state="unfinished"))
    balances = sorted(point["loss.balance"] for point in running)
    assert min(b - a for a, b in itertools.pairwise(balances)) > 1e-3


def test_a_stopped_or_failed_trial_is_told_and_is_worse_than_a_finished_one() -> None:
    """The same points and scores: what was cut short must not attract the search."""

    def share_near_best(state: State) -> float:
        good = [{**WIDE.base_point, "loss.balance": 1.5 + i / 50} for i in range(10)]
        bad = [{**WIDE.base_point, "loss.balance": i / 50} for i in range(10)]
        records = [record(i, point, 0.5) for i, point in enumerate(bad)]
        records += [record(10 + i, point, 0.9, state=state) for i, point in enumerate(good)]
        drawn = [propose(WIDE, "tpe", records, seed=seed)["loss.balance"] for seed in range(20)]
        return sum(value > 1 for value in drawn) / len(drawn)

    assert share_near_best("finished") > 0.8
    assert share_near_best("failed") < 0.5


def test_a_grid_has_every_point_once_the_base_first() -> None:
    points = proposals(SMALL, "grid", 6)
    assert points[0] == {"loss.balance": 1.0, "optimizer.batch_size": 16}
    assert {tuple(point.values()) for point in points} == {
        (balance, size) for balance in (0.0, 1.0, 2.0) for size in (8, 16)
    }


@pytest.mark.parametrize("searcher", ["tpe", "random"])
def test_a_small_space_is_searched_without_repetition(searcher: Searcher) -> None:
    points = proposals(SMALL, searcher, 6)
    assert len({tuple(point.values()) for point in points}) == 6
