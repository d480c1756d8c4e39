"""The table of a running sweep, as text of a fixed width."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.console import Console

from ier_ray.tuning.live_table import live_table
from ier_ray.tuning.trials import State, TrialRecord, trial_name

WIDTH = 100


def record(index: int, *scores: float, state: State = "unfinished") -> TrialRecord:
    history: list[dict[str, Any]] = [
        {"epoch": epoch, "score": score} for epoch, score in enumerate(scores, start=1)
    ]
    point = {"loss.balance": 0.51234, "optimizer.schedule": "cosine"}
    return TrialRecord(name=trial_name(index), point=point, state=state, history=history)


RECORDS = [
    record(0, 0.5, 0.7, 0.6, state="finished"),
    record(1, 0.4, state="stopped"),
    record(2, 0.9, state="failed"),
    record(3),
    record(4, 0.3, 0.8),
    record(5, 0.6, 0.2),
    record(6),
]


def lines(
    height: int = 40,
    width: int = WIDTH,
    forecast: str = "left: 2.0 h",
    records: Sequence[TrialRecord] = RECORDS,
    folds: int = 1,
) -> list[str]:
    shown = live_table(
        records,
        running={"trial-0004", "trial-0005", "trial-0006"},
        standing_still={"trial-0005"},
        criterion="ier_accuracy",
        epochs=3,
        folds=folds,
        trials=20,
        forecast=forecast,
        height=height,
    )
    file = StringIO()
    Console(file=file, width=width, height=height).print(shown)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_running_trials_come_first_then_the_best() -> None:
    rows = [line.split() for line in lines() if line.startswith(" trial-")]
    point = ["0.512", "cosine"]
    assert rows == [
        ["trial-0004", *point, "running", "2/3", "0.800", "0.800"],
        ["trial-0005", *point, "stands", "still", "2/3", "0.200", "0.600"],
        ["trial-0006", *point, "running", "0/3", "-", "-"],
        ["trial-0000", *point, "finished", "3/3", "0.600", "0.700"],
        ["trial-0001", *point, "stopped", "1/3", "0.400", "0.400"],
        ["trial-0002", *point, "failed", "1/3", "0.900", "0.900"],
        ["trial-0003", *point, "waiting", "0/3", "-", "-"],
    ]


def test_epochs_are_those_of_all_folds() -> None:
    """The first fold of three epochs ended after two; the best scores are 0.75 and 0.5."""
    history: list[dict[str, Any]] = [
        {"epoch": epoch, "score": score, "fold": fold}
        for epoch, score, fold in ((1, 0.75, 0), (2, 0.5, 0), (4, 0.5, 1), (5, 0.25, 1))
    ]
    folded = RECORDS[4].model_copy(update={"history": history})
    shown = lines(records=[folded], folds=2)
    (row,) = [line.split() for line in shown if line.startswith(" trial-")]
    assert row[-4:] == ["running", "5/6", "0.500", "0.625"]  # newest: (0.75 + 0.25) / 2


def test_columns_name_the_settings_and_the_criterion() -> None:
    titles = lines()[:4]
    assert titles[0] == ""
    assert titles[1].split() == ["loss.", "optimizer.", "ier_accuracy"]
    assert titles[2].split() == ["trial", "balance", "schedule", "state", "epoch", "newest", "best"]
    assert set(titles[3].strip()) == {"─"}


def test_what_is_left_of_the_sweep_is_below_the_trials() -> None:
    """The best score so far is a running trial's; that of a failed one has no weights."""
    assert lines()[-2:] == [
        "3 of 20 trials ended, 3 running; best so far: trial-0004, 0.800",
        "left: 2.0 h",
    ]


def test_no_more_trials_are_shown_than_the_terminal_has_lines_for() -> None:
    for height in range(9, 16):
        shown = lines(height)
        assert len(shown) < height
        rows = [line.split()[0] for line in shown if line.startswith(" trial-")]
        assert len(rows) == min(len(RECORDS), height - 8)
        assert rows[:1] == ["trial-0004"]


def test_a_narrow_terminal_cuts_the_settings_and_never_breaks_lines() -> None:
    narrow = lines(width=70)
    assert len(narrow) == len(lines())
    assert narrow[5].split()[0] == "trial-0005"
    assert narrow[5].split()[-4:] == ["still", "2/3", "0.200", "0.600"]
