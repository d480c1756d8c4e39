"""The watchdog, with times made by hand: who is named, when, and who never is."""

from __future__ import annotations

import numpy as np
import pytest

from ier_ray.tuning.watchdog import LOOK_S, MARGIN_S, Stall, Watchdog

STEP_S = 0.25


class Sweep:
    """A sweep whose clock the test moves; the watchdog looks four times per second."""

    def __init__(self) -> None:
        self.watchdog = Watchdog()
        self.now = 1000.0
        self.watchdog.look(self.now)

    def wait(self, seconds: float) -> list[Stall]:
        """Nothing is reported for some seconds; who is named in them."""
        found = []
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            found += self.watchdog.look(self.now)
        return found

    def epoch(
        self, name: str, epoch: int, seconds: float, *, work: float = 1.0, took: float = 0.0
    ) -> list[Stall]:
        """An epoch of a trial that is reported after ``took`` seconds, by default as it says."""
        found = self.wait(took or seconds)
        self.watchdog.reported(name, epoch=epoch, seconds=seconds, work=work)
        return found


@pytest.fixture
def sweep() -> Sweep:
    """A sweep of one trial, which has ended an epoch of 10 s."""
    sweep = Sweep()
    sweep.watchdog.started("a", epoch=0, work=1.0)
    assert sweep.epoch("a", 1, 10.0, took=15.0) == []  # nothing is known to compare it with
    return sweep


def test_a_trial_that_stands_still_is_named_once_within_twice_its_epoch(sweep: Sweep) -> None:
    assert sweep.wait(17.0) == []
    (stall,) = sweep.wait(1.0)
    assert stall == Stall("a", 1, 17.0 + STEP_S, 10.0, starting=False)
    assert sweep.wait(3600.0) == []
    assert sweep.watchdog.standing_still == {"a": pytest.approx(3618.0)}


def test_it_goes_on_and_is_named_again_when_it_stands_still_again(sweep: Sweep) -> None:
    (_,) = sweep.wait(30.0)
    took = sweep.watchdog.reported("a", epoch=2, seconds=30.0, work=1.0)
    assert took == pytest.approx(30.0)
    assert sweep.watchdog.standing_still == {}
    (stall,) = sweep.wait(20.0)  # the stall has not made it more patient
    assert (stall.trial, stall.epoch, stall.expected_s) == ("a", 2, 10.0)


def test_what_is_slow_twice_in_a_row_is_usual(sweep: Sweep) -> None:
    assert len(sweep.epoch("a", 2, 30.0)) == 1
    assert len(sweep.epoch("a", 3, 40.0)) == 1
    assert sweep.epoch("a", 4, 45.0) == []
    assert sweep.watchdog.reported("a", epoch=5, seconds=1.0, work=1.0) is None


def test_a_trial_that_makes_progress_is_never_named() -> None:
    """Each epoch is at most half as long again as one before, and stored in some seconds."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        sweep, longest = Sweep(), float(rng.uniform(1, 30))
        sweep.watchdog.started("a", epoch=0, work=1.0)
        sweep.epoch("a", 1, longest)
        for epoch in range(2, 12):
            seconds = float(rng.uniform(0.1, 1.5)) * longest
            found = sweep.epoch("a", epoch, seconds, took=seconds + MARGIN_S - STEP_S)
            assert found == []
            longest = max(longest, seconds)


def test_storing_a_checkpoint_is_a_part_of_the_epochs_that_are_compared(sweep: Sweep) -> None:
    sweep.epoch("a", 2, 10.0, took=17.0)
    assert sweep.epoch("a", 3, 10.0, took=27.0) == []


def test_an_epoch_with_more_to_do_may_take_longer_in_proportion(sweep: Sweep) -> None:
    sweep.epoch("a", 2, 10.0, work=2.0)  # the next one aligns the networks
    assert sweep.wait(31.0) == []
    sweep.epoch("a", 3, 12.0, work=2.0, took=STEP_S)
    (stall,) = sweep.wait(200.0)
    assert stall.expected_s == pytest.approx(31.25)


@pytest.mark.parametrize("others", [1, 3])
def test_trials_that_come_to_share_the_cluster_slow_each_other_down(
    sweep: Sweep, others: int
) -> None:
    for other in range(others):
        sweep.watchdog.started(f"other-{other}", epoch=0, work=1.0)
    allowed = 1.5 * 10.0 * (1 + others) + MARGIN_S
    assert sweep.epoch("a", 2, allowed - 1.0) == []
    sweep.watchdog.reported("a", epoch=3, seconds=12.0, work=1.0)
    assert sweep.watchdog.standing_still == {}


def test_alone_again_a_trial_is_compared_with_all_its_epochs(sweep: Sweep) -> None:
    sweep.watchdog.started("b", epoch=0, work=1.0)
    sweep.epoch("a", 2, 10.0)
    sweep.epoch("a", 3, 16.0)  # two share the cluster
    sweep.watchdog.ended("b")
    assert sweep.wait(1.5 * 16.0 + MARGIN_S) == []
    assert [stall.trial for stall in sweep.wait(1.0)] == ["a"]


def test_a_first_epoch_is_compared_with_those_of_other_trials(sweep: Sweep) -> None:
    sweep.watchdog.ended("a")  # its first one took 15 s, with starting
    sweep.watchdog.started("b", epoch=0, work=1.0)
    assert sweep.wait(3 * 15.0 + MARGIN_S) == []
    (stall,) = sweep.wait(1.0)
    assert (stall.trial, stall.epoch, stall.expected_s) == ("b", 0, 15.0)
    assert stall.starting


def test_a_trial_that_is_started_again_has_the_time_to_start(sweep: Sweep) -> None:
    sweep.watchdog.ended("a")
    assert sweep.wait(600.0) == []
    sweep.watchdog.started("a", epoch=1, work=1.0)
    assert sweep.epoch("a", 2, 10.0, took=45.0) == []
    assert [stall.expected_s for stall in sweep.wait(60.0)] == [10.0]


def test_a_fold_has_the_time_to_start(sweep: Sweep) -> None:
    """The first epoch of the trial took 15 s, with starting; its epochs take 10 s."""
    sweep.wait(10.0)
    sweep.watchdog.reported("a", epoch=2, seconds=10.0, work=1.0, starting=True)
    assert sweep.wait(3 * 15.0 + MARGIN_S) == []
    (stall,) = sweep.wait(1.0)
    assert (stall.epoch, stall.expected_s, stall.starting) == (2, 15.0, True)
    sweep.watchdog.reported("a", epoch=3, seconds=10.0, work=1.0)
    assert [stall.expected_s for stall in sweep.wait(60.0)] == [10.0]


def test_without_anything_to_compare_with_nobody_is_named() -> None:
    sweep = Sweep()
    sweep.watchdog.started("a", epoch=0, work=1.0)
    assert sweep.wait(7200.0) == []


def test_time_in_which_nobody_looked_does_not_count(sweep: Sweep) -> None:
    """The driver was stopped for an hour: the trial's reports of that time are not yet read."""
    sweep.wait(5.0)
    sweep.now += 3600.0
    assert sweep.watchdog.look(sweep.now) == []
    assert sweep.wait(12.0 - LOOK_S) == []
    assert len(sweep.wait(1.0)) == 1


def test_an_epoch_during_which_a_trial_was_alone_does_not_tell_what_sharing_costs(
    sweep: Sweep,
) -> None:
    sweep.watchdog.started("b", epoch=0, work=1.0)
    sweep.epoch("a", 2, 10.0)
    sweep.watchdog.ended("b")
    sweep.watchdog.started("c", epoch=0, work=1.0)  # in the same epoch
    sweep.epoch("a", 3, 10.0)
    assert sweep.wait(1.5 * 2 * 10.0 + MARGIN_S) == []
    assert [stall.trial for stall in sweep.wait(1.0)] == ["a"]
