"""Finds trials that stand still: that take much longer for an epoch than their epochs before.

A hung reader, a blocked storage or a stopped process raises no error: nothing but the time shows
it. What varies in a healthy sweep must not be taken for a stall:

- Epochs differ in length: a trial has half as long again as its longest epoch, and some seconds
  for its checkpoint.
- An epoch with more to do, such as the first one that aligns the networks, or during which more
  trials share the cluster, is compared with epochs of as much load. Without any, the time allowed
  grows in proportion to the load.
- The first epoch after a start includes starting, and its network may be much larger than those of
  other trials: it has three times the longest first epoch so far. So has the first one of a fold.
- Time during which nobody looked does not count: reports may be waiting to be read.
- A stall is no measure of later epochs, unless the epoch after it is as slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FACTOR, MARGIN_S = 1.5, 2.0
"""A trial stands still after ``FACTOR`` times its longest epoch, and ``MARGIN_S`` seconds: of an
epoch of 8 s or more, two seconds before twice its time, as the driver hears of its end later."""
FIRST_FACTOR = 3.0
LOOK_S = 1.0
"""Seconds that a look counts at most."""


@dataclass(frozen=True)
class Stall:
    """A trial that stands still."""

    trial: str
    epoch: int
    """The last epoch that has ended."""
    silent_s: float
    """Seconds since then or, before the first epoch of this start, since the start."""
    expected_s: float
    """Seconds that the epoch was expected to take, at most."""
    starting: bool
    """Whether no epoch has ended since the start of the trial or of its fold: the comparison is
    with other first epochs."""


@dataclass(frozen=True)
class Timing:
    """How long an epoch took.

    Attributes:
        seconds: its length.
        load: what it had to do, times the trials that ran at the same time.
    """

    seconds: float
    load: float


@dataclass
class Running:
    """A trial that runs, in the epoch after ``epoch``.

    Attributes:
        since: when this epoch began.
        work: what the epoch has to do, relative to other epochs of the trial.
        fewest: trials that have run at the same time during the epoch, at least.
        most: the same, at most.
        starting: whether it is the first epoch of this start, or of a fold.
        named: whether the trial has been found to stand still in this epoch.
        stalled_s: length of the epoch before if it was named in that; else 0.
    """

    epoch: int
    since: float
    work: float
    fewest: int
    most: int
    starting: bool = True
    named: bool = False
    stalled_s: float = 0.0


class Watchdog:
    """Watches the trials of a sweep. Whoever drives it looks at least once per second."""

    def __init__(self) -> None:
        self._now = 0.0
        self._looked: float | None = None
        self._running: dict[str, Running] = {}
        self._timings: dict[str, list[Timing]] = {}
        self._first_epochs: list[Timing] = []

    @property
    def standing_still(self) -> Mapping[str, float]:
        """The trials that stand still, and for how many seconds."""
        return {
            name: self._now - trial.since for name, trial in self._running.items() if trial.named
        }

    def started(self, name: str, *, epoch: int, work: float) -> None:
        """A trial was started, or started again.

        Args:
            epoch: the last epoch of an earlier start; 0 if there is none.
            work: what the next epoch has to do, relative to others of the trial.
        """
        count = len(self._running) + 1
        self._running[name] = Running(epoch, self._now, work, fewest=count, most=count)
        for trial in self._running.values():
            trial.most = max(trial.most, count)

    def reported(
        self, name: str, *, epoch: int, seconds: float, work: float, starting: bool = False
    ) -> float | None:
        """A running trial has ended an epoch.

        Args:
            seconds: length of the epoch, without its checkpoint.
            work: what the next epoch has to do, relative to others of the trial.
            starting: whether the next epoch is the first of a fold.

        Returns:
            Seconds that the epoch took if the trial was named in it; else None.
        """
        trial, count = self._running[name], len(self._running)
        took = self._now - trial.since
        longer, load = max(seconds, took), trial.work * trial.fewest
        timings = self._timings.setdefault(name, [])
        if trial.named:
            if trial.stalled_s:
                timings.append(Timing(min(longer, trial.stalled_s), load))
        elif trial.starting:
            timings.append(Timing(seconds, load))
            self._first_epochs.append(Timing(took, load))
        else:
            timings.append(Timing(longer, load))
        self._running[name] = Running(
            epoch,
            self._now,
            work,
            fewest=count,
            most=count,
            starting=starting,
            stalled_s=longer if trial.named else 0.0,
        )
        return took if trial.named else None

    def ended(self, name: str) -> None:
        """A trial has ended or was lost."""
        self._running.pop(name, None)
        for trial in self._running.values():
            trial.fewest = min(trial.fewest, len(self._running))

    def look(self, now: float) -> list[Stall]:
        """The trials that have come to stand still, each once until its next epoch has ended.

        Args:
            now: seconds of any steady clock.
        """
        if self._looked is not None:
            self._now += min(now - self._looked, LOOK_S)
        self._looked = now
        found = []
        for name, trial in self._running.items():
            silent, expected = self._now - trial.since, self._expected(name, trial)
            if expected is None or trial.named:
                continue
            factor = FIRST_FACTOR if trial.starting else FACTOR
            if silent > factor * expected + MARGIN_S:
                trial.named = True
                found.append(Stall(name, trial.epoch, silent, expected, trial.starting))
        return found

    def _expected(self, name: str, trial: Running) -> float | None:
        """Seconds that a trial's present epoch may take, by the longest comparable one, if any."""
        timings = self._first_epochs if trial.starting else self._timings.get(name, [])
        load = trial.work * trial.most
        comparable = [timing.seconds for timing in timings if timing.load >= load]
        scaled = [timing.seconds * load / timing.load for timing in timings]
        return max(comparable or scaled, default=None)
