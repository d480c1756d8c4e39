"""What a sweep shows while it runs, driven as Tune does it, without a cluster."""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from support.sweeps import sweep

from ier_ray.cluster.logs import job_log
from ier_ray.cluster.packing import Group
from ier_ray.cluster.sweep_forecast import SweepForecast
from ier_ray.cluster.sweep_progress import SweepProgress
from ier_ray.cluster.trial_queue import TrialQueue
from ier_ray.tuning.settings import SweepSettings
from ier_ray.tuning.trials import TrialStore

TRIAL = SimpleNamespace(config={"trial": "trial-0000"})
UNREAD = {"fer": "fer", "ier": "ier"}
ROWS, COLUMNS = 20, 100


class Driven:
    """The progress of a sweep with one trial of ``num_workers``, on a clock of its own."""

    def __init__(self, settings: SweepSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = TrialStore(f"{settings.storage}/{settings.name}")
        self.queue = TrialQueue(
            settings,
            self.store,
            lambda: 1,
            SweepForecast(Group(1, 1.0), trials=3, epochs=3, at_once=lambda: 1),
        )
        self.queue.suggest("id")
        self.progress = SweepProgress(self.queue)
        self.now = 100.0
        monkeypatch.setattr("ier_ray.cluster.sweep_progress.time.monotonic", lambda: self.now)
        self.progress.on_trial_start(0, [], TRIAL)

    def wait(self, seconds: float) -> None:
        """Tune's loop, twice per second."""
        for _ in range(int(2 * seconds)):
            self.now += 0.5
            self.progress.on_step_end(0, [])

    def report(self, epoch: int, score: float = 0.5, **more: Any) -> None:
        """The trial reports an epoch to Tune."""
        result = {**record(epoch, score), **more, "pid": 4242, "node_ip": "10.0.0.7"}
        self.progress.on_trial_result(0, [], TRIAL, result)


def record(epoch: int, score: float) -> dict[str, Any]:
    losses = dict.fromkeys(("total", "fer", "ier", "discrepancy"), 1.0)
    rates = {"images_per_s": 50.0, "seconds": 10.0}
    return {"epoch": epoch, "score": score, "ier_accuracy": score, **losses, **rates}


def settings_of(directory: Path, workers: int, **search: Any) -> SweepSettings:
    scaling = {"num_workers": workers, "cpus_per_worker": 1.0}
    train = {"scaling": scaling, "schedule": {"epochs": 3, "warmup_epochs": 0, "patience": 1}}
    return sweep(UNREAD, directory, train, **search)


@contextmanager
def terminal() -> Iterator[list[bytes]]:
    """A terminal as standard error; what it has been given when the context ends."""
    theirs, ours = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    shown: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the other end was closed
            while given := os.read(theirs, 2**16):
                shown.append(given)

    reader = Thread(target=read)
    reader.start()
    with os.fdopen(ours, "w") as stream, redirect_stderr(stream):
        yield shown
    reader.join()
    os.close(theirs)


@pytest.mark.parametrize("workers", [1, 2])
def test_elsewhere_each_epoch_is_a_line_with_the_trials_name(
    workers: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trial of several workers writes its epochs; it reports to Tune at its start and end."""
    driven = Driven(settings_of(tmp_path, workers), monkeypatch)
    caplog.set_level(logging.INFO, logger="ier_ray")
    for epoch in (1, 2, 3):
        if workers == 1:
            driven.report(epoch)
        else:
            read = driven.store.read("trial-0000")
            driven.store.write(read.with_epoch(record(epoch, 0.5)))
        driven.wait(10)
    driven.report(3)  # again, as trials do when they start and end
    lines = [line for line in caplog.messages if "epoch" in line]
    assert lines == [
        f"trial-0000: epoch {epoch}/3  loss 1.000 (fer 1.000, ier 1.000, discrepancy 1.000)  "
        f"accuracy ier 0.500  50 images/s, 10.0 s"
        for epoch in (1, 2, 3)
    ]


def test_a_trial_that_stands_still_is_named_with_all_that_helps(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driven = Driven(settings_of(tmp_path, 1), monkeypatch)
    caplog.set_level(logging.INFO, logger="ier_ray")
    driven.report(1)
    driven.wait(60)
    driven.report(2)
    _, named, _, goes_on = caplog.messages
    assert named == (
        "trial-0000 (loss.balance 1, optimizer.batch_size 8) stands still in epoch 2 of 3: 18 s "
        "since epoch 1 ended, where at most 10 s were expected by its earlier epochs; look at "
        "process 4242 on 10.0.0.7, and at what reads for it: ray list tasks --filter state=RUNNING"
    )
    assert goes_on == "trial-0000 goes on: epoch 2 ended after 60 s"
    driven.progress.on_trial_error(0, [], TRIAL)  # the trial is lost
    driven.wait(3600)
    assert len(caplog.messages) == 4


def test_a_fold_that_begins_is_not_taken_for_a_stall(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of two folds of three epochs ends after two: its score is no better."""
    driven = Driven(settings_of(tmp_path, 1, folds=2), monkeypatch)
    caplog.set_level(logging.INFO, logger="ier_ray")
    driven.wait(10)
    driven.report(1, fold=0)
    driven.wait(10)
    driven.report(2, fold=0)
    driven.wait(30)  # an epoch that is not a fold's first has 17 s
    first, second = caplog.messages
    assert first.startswith("trial-0000: epoch 1/6  loss")
    assert second.startswith("trial-0000: epoch 2/6  loss")
    driven.wait(10)
    assert (
        " stands still in epoch 4 of 6: 31 s since its fold was started, where at most 10 s were "
        "expected by the first epochs of other folds; look at "
    ) in caplog.messages[2]
    driven.report(4, fold=1)
    assert caplog.messages[3].startswith("trial-0000: epoch 4/6  loss")
    assert caplog.messages[4] == "trial-0000 goes on: epoch 4 ended after 40 s"
    driven.wait(30)
    assert " stands still in epoch 5 of 6: 18 s since epoch 4 ended" in caplog.messages[5]


def test_in_a_terminal_a_table_is_below_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    driven = Driven(settings_of(tmp_path, 1), monkeypatch)
    with terminal() as given, job_log("tune") as log:
        before = sys.stderr
        with driven.progress.shown():
            driven.report(1)
            driven.wait(60)
        assert sys.stderr is before
        logging.getLogger("ier_ray").info("the sweep has ended")
    shown = b"".join(given).decode()
    named, table = shown.index("trial-0000 (loss.balance 1"), shown.rindex(" trial-0000 ")
    assert named < table < shown.index("the sweep has ended")
    for text in ("stands still", "1/3", "0.500", "0 of 3 trials ended, 1 running", "left: about"):
        assert text in shown[table:]
    assert "epoch 1/3" not in shown  # the table shows it
    assert "trial-0000: epoch 1/3" in log.read_text()
    log.unlink()
