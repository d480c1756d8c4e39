"""Which trials may go on: laws of successive halving."""

from __future__ import annotations

import numpy as np
import pytest

from ier_ray.tuning.halving import Halving


@pytest.mark.parametrize(
    ("rule", "rungs"),
    [
        (Halving(5, 2, 100), (5, 10, 20, 40, 80)),
        (Halving(3, 3, 27), (3, 9)),
        (Halving(4, 2, 8), (4,)),
        (Halving(6, 2, 6), ()),  # never at the last epoch: the trial ends there anyhow
    ],
)
def test_rungs(rule: Halving, rungs: tuple[int, ...]) -> None:
    assert rule.rungs == rungs


def test_a_trial_ends_below_the_better_half_and_equals_go_on() -> None:
    rule = Halving(2, 2, 8)
    assert not rule.stops(0.9, [0.5])
    assert rule.stops(0.2, [0.5])
    assert not rule.stops(0.5, [0.5, 0.1, 0.9])
    assert not rule.stops(0.1, [])
    assert not rule.stops(0.5, [0.5] * 3)


@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_one_in_reduction_goes_on_if_all_are_compared_at_once(reduction: int) -> None:
    scores = np.random.default_rng(0).permutation(36) / 36
    rule = Halving(1, reduction, 4)
    stopped = [rule.stops(own, np.delete(scores, i).tolist()) for i, own in enumerate(scores)]
    assert 36 - sum(stopped) == 36 // reduction
    worst_kept = min(score for score, stop in zip(scores, stopped, strict=True) if not stop)
    assert all(score < worst_kept for score, stop in zip(scores, stopped, strict=True) if stop)
