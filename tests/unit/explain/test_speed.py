"""What the engine learns of a network's speed."""

from __future__ import annotations

import numpy as np
import pytest

from ier_ray.explain.engine.speed import (
    BATCH_S,
    CALLS_SHARE,
    FIRST_S_PER_MAC,
    MOST_BATCH_S,
    Speed,
)


def learned(calls: float, slope: float, costs: list[float]) -> Speed:
    """From batches that follow a line."""
    speed = Speed()
    for macs in costs:
        speed.learn(macs, calls + slope * macs)
    return speed


def test_a_line_is_found_from_two_different_batches() -> None:
    for costs in ([1e9, 3e9], [5e9, 1e9, 2e9, 2e9, 8e9]):
        calls, slope = learned(0.03, 5e-11, costs).line
        assert calls == pytest.approx(0.03)
        assert slope == pytest.approx(5e-11)


def test_equal_batches_say_nothing_of_calls() -> None:
    assert learned(0.03, 5e-11, [1e9] * 5).line == pytest.approx((0.0, 8e-11), abs=1e-12)
    assert Speed().line == (0.0, FIRST_S_PER_MAC)


def test_noise_makes_neither_calls_negative_nor_computing_free() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        speed = Speed()
        for seconds in generator.uniform(0.01, 1, 6):
            speed.learn(float(generator.uniform(1e9, 2e9)), float(seconds))
            calls, slope = speed.line
            assert calls >= -1e-12
            assert slope > 0
            assert speed.quantum > 0


@pytest.mark.parametrize(
    ("calls", "batch_s"),
    [
        (0.001, BATCH_S),
        (0.045, 0.045 / CALLS_SHARE),
        (0.1, MOST_BATCH_S),
        (1.0, 2.0),
    ],
)
def test_a_batch_is_short_unless_calls_would_take_most_of_it(calls: float, batch_s: float) -> None:
    speed = learned(calls, 5e-11, [1e10, 4e10])
    assert calls + 5e-11 * speed.quantum == pytest.approx(batch_s)
    macs = 2.5 * speed.quantum
    assert speed.seconds(macs) == pytest.approx(5e-11 * macs + 3 * calls)


def test_short_batches_do_not_become_shorter_and_shorter() -> None:
    """As at the start of an explanation, whose first levels are small."""
    speed = learned(0.04, 5e-11, [4e8, 4e8, 5e8])
    for _ in range(20):
        macs = speed.quantum
        speed.learn(macs, 0.04 + 5e-11 * macs)
    assert 0.04 + 5e-11 * speed.quantum == pytest.approx(0.04 / CALLS_SHARE)


def test_a_batch_of_almost_nothing_is_not_learned_from() -> None:
    """It would say that calls take no time: few of them are made for it."""
    speed = learned(0.04, 5e-11, [1e9, 2e9])
    for _ in range(5):
        speed.learn(1e7, 0.001)
    assert speed.line == pytest.approx((0.04, 5e-11))


def test_the_latest_batches_count_most() -> None:
    speed = learned(0.0, 1e-10, [1e9, 2e9] * 10)
    for macs in [1e9, 2e9] * 20:
        speed.learn(macs, 2e-10 * macs)
    assert speed.line[1] == pytest.approx(2e-10, rel=0.05)
