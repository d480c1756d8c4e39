"""Forecasts of time and cost, worked by hand."""

from __future__ import annotations

import logging

import pytest

from ier_ray.cluster.forecast import Forecast, duration
from ier_ray.cluster.packing import Group
from ier_ray.cluster.sweep_forecast import SweepForecast
from ier_ray.tuning.trials import TrialRecord

GPU_RUN = Group(workers=2, cpus=4.0, gpus=1.0)


def test_trials_that_run_together_share_the_time_but_not_the_cost() -> None:
    left = [10] * 19
    one = Forecast.of(GPU_RUN, left, epoch_seconds=360.0, at_once=1)
    four = Forecast.of(GPU_RUN, left, epoch_seconds=360.0, at_once=4)
    assert one.seconds == 19 * 3600
    assert four.seconds == 19 * 3600 / 4
    assert (one.cpu_hours, one.gpu_hours) == (19 * 8, 19 * 2)
    assert (four.cpu_hours, four.gpu_hours) == (one.cpu_hours, one.gpu_hours)


def test_no_sweep_is_shorter_than_its_longest_trial() -> None:
    found = Forecast.of(GPU_RUN, [1, 10], epoch_seconds=60.0, at_once=8)
    assert found.seconds == 600
    assert Forecast.of(GPU_RUN, [3], epoch_seconds=60.0, at_once=8).seconds == 180


def test_the_forecast_is_readable() -> None:
    forecast = Forecast.of(Group(1, 1.0), [10] * 4, epoch_seconds=90.0, at_once=2)
    assert str(forecast) == ("about 30.0 min if none is stopped early: 1 CPU hours, 0 GPU hours")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2.0 min"), (7200, "2.0 h"), (2 * 86400, "2.0 d")],
)
def test_durations_have_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def record(name: str, epochs: int, **changes: str) -> TrialRecord:
    history = [{"epoch": epoch + 1, "score": 0.5, "seconds": 30.0} for epoch in range(epochs)]
    return TrialRecord.model_validate({"name": name, "point": {}, "history": history, **changes})


def test_a_sweep_tells_what_is_left_once(caplog: pytest.LogCaptureFixture) -> None:
    """Of ten trials of four epochs: one ended, one stopped, one is half done, seven are new."""
    told = SweepForecast(Group(1, 2.0), trials=10, epochs=4, at_once=lambda: 3)
    failed = record("f", 0, state="failed")
    ended = record("a", 4, state="finished")
    records = [ended, record("b", 2, state="stopped"), record("c", 2)]
    with caplog.at_level(logging.INFO, logger="ier_ray"):
        told.tell(failed, [failed])  # nothing is known yet
        for _ in range(2):
            told.tell(ended, records)
    (line,) = [entry.getMessage() for entry in caplog.records]
    # 2 + 7 * 4 epochs of 30 s, three at a time, each on two CPUs.
    assert line == (
        "the first trial ended, 4 epochs in 2.0 min; the other 8 take about 5.0 min if none is "
        "stopped early: 0.5 CPU hours, 0 GPU hours"
    )


def test_a_fold_that_ended_early_leaves_nothing() -> None:
    """Two folds of four epochs: the first ended after two, the second has three left."""
    told = SweepForecast(Group(1, 2.0), trials=1, epochs=8, at_once=lambda: 1)
    one = record("a", 3)
    one.history[-1].update(epoch=5, fold=1)
    assert told.epochs_left([one]) == [3]


def test_what_is_left_follows_all_epochs_so_far() -> None:
    """Of four trials of four epochs on no node at present: one ended, one is half done."""
    told = SweepForecast(Group(1, 2.0), trials=4, epochs=4, at_once=lambda: 0)
    assert told.remaining([]) is None
    assert told.remaining([record("a", 4, state="finished"), record("b", 0)]) is not None
    found = told.remaining([record("a", 4, state="finished"), record("b", 2)])
    assert found == Forecast(seconds=10 * 30.0, cpu_hours=10 * 30.0 * 2 / 3600, gpu_hours=0.0)
    assert told.remaining([record(name, 4, state="finished") for name in "abcd"]) is None
