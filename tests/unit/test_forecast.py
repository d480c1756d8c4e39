"""Forecasts of time and cost, worked by hand."""

from __future__ import annotations

import pytest

from ier_ray.cluster.forecast import Forecast, duration
from ier_ray.cluster.packing import Group

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
