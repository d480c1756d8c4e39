"""The table of a sweep's trials while it runs, as large as the terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ier_ray.tuning.history import curve
from ier_ray.tuning.leaderboard import short
from ier_ray.tuning.trials import TrialRecord, rank

STYLES = {"running": "green", "stands still": "bold red", "failed": "red", "waiting": "dim"}
"""Styles of the states; of others, none."""


def live_table(
    records: Sequence[TrialRecord],
    *,
    running: Collection[str],
    standing_still: Collection[str],
    criterion: str,
    epochs: int,
    folds: int,
    trials: int,
    forecast: str,
    height: int,
) -> Group:
    """The trials, those that run first and then the best, and two lines on the sweep.

    Args:
        records: of all trials so far, at least one.
        running: names of the trials that run.
        standing_still: names of those that the watchdog has named.
        criterion: what ``score`` is.
        epochs: epochs of a fold that is not stopped, where they are not searched.
        folds: folds of a trial that is not stopped.
        trials: trials of the sweep.
        forecast: what is left, in words; empty while nothing is known.
        height: lines of the terminal. Trials for which there is none are left out.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    titles = [name.replace(".", ".\n") for name in records[0].point]  # long names, short values
    table.add_column("trial", no_wrap=True)
    for title in titles:
        table.add_column(title, overflow="ellipsis")  # these become narrower than their texts
    table.add_column("state", no_wrap=True)
    for title in ("epoch", f"{criterion}\nnewest", "\nbest"):
        table.add_column(title, justify="right", no_wrap=True)
    # Beside the rows: the titles, a rule, two blank lines, the sweep's two lines, one to spare.
    room = height - max(2, *(title.count("\n") + 1 for title in titles)) - 6
    now = [record for record in records if record.name in running]
    others = sorted((record for record in records if record.name not in running), key=rank)
    for record in [*now, *others][: max(1, room)]:
        state = state_of(record, running=running, standing_still=standing_still)
        newest = curve(record.history).get(record.time)
        table.add_row(
            record.name,
            *map(short, record.point.values()),
            Text(state, STYLES.get(state, "")),
            f"{record.time}/{folds * record.point.get('schedule.epochs', epochs)}",
            *("-" if score is None else f"{score:.3f}" for score in (newest, record.score)),
        )
    below = f"{progress(records, running, trials)}\n{forecast}"
    return Group(table, Text(below, "bold", no_wrap=True, overflow="ellipsis"))


def state_of(
    record: TrialRecord, *, running: Collection[str], standing_still: Collection[str]
) -> str:
    """The state of a trial: unfinished ones run, stand still or wait."""
    if record.name in standing_still:
        return "stands still"
    if record.name in running:
        return "running"
    return record.state if record.ended else "waiting"


def progress(records: Sequence[TrialRecord], running: Collection[str], trials: int) -> str:
    """How many trials have ended and run, and the best score so far, of whatever trial."""
    ended = sum(record.ended for record in records)
    text = f"{ended} of {trials} trials ended, {len(running)} running"
    scores = {
        record.name: record.score
        for record in records
        if record.score is not None and record.state != "failed"
    }
    if scores:
        best = max(scores, key=scores.__getitem__)
        text += f"; best so far: {best}, {scores[best]:.3f}"
    return text
