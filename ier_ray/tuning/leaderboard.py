"""The table of a sweep's trials: as records, as text, and as a Parquet file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ier_ray import storage
from ier_ray.training.selection import LABEL_FREE
from ier_ray.tuning.history import best_epochs
from ier_ray.tuning.space import plain
from ier_ray.tuning.trials import State, TrialRecord, rank

VALIDATION = ("_accuracy", "_val_loss")
"""Endings of the validation metrics' names in an epoch's record."""


@dataclass(frozen=True)
class Row:
    """One trial."""

    name: str
    point: dict[str, Any]
    """The searched settings' values."""
    state: State
    epochs: int
    """Epochs trained."""
    best_epoch: int | None
    """Of the first fold, whose weights are kept."""
    score: float | None
    """Value of ``schedule.criterion`` in the best epoch, its mean over the folds begun; None before
    the first epoch has ended."""
    metrics: dict[str, float]
    """Validation metrics and label-free criteria, of the same epochs; without those that an epoch
    has no value of, as its logits were not finite."""
    error: str | None

    @classmethod
    def of(cls, record: TrialRecord) -> Row:
        """The row of a trial's record."""
        bests = best_epochs(record.history)
        first = bests[0] if bests else {}
        return cls(
            name=record.name,
            point=record.point,
            state=record.state,
            epochs=len(record.history),
            best_epoch=first.get("epoch"),
            score=record.score,
            metrics={
                name: fmean(best[name] for best in bests)
                for name in first
                if (name.endswith(VALIDATION) or name in LABEL_FREE)
                and all(best[name] is not None for best in bests)
            },
            error=record.error,
        )


def rows_of(records: Iterable[TrialRecord]) -> list[Row]:
    """The rows of trials, best first."""
    return [Row.of(record) for record in sorted(records, key=rank)]


def as_text(rows: Sequence[Row], criterion: str) -> str:
    """The rows as a table, with a column for each searched setting."""
    metrics = [one for one in rows[0].metrics if one.endswith(VALIDATION) and one != criterion]
    titles = ["trial", *rows[0].point, "state", "epochs", criterion, *metrics]
    lines = [titles]
    for row in rows:
        scores = [row.score, *(row.metrics.get(name) for name in metrics)]
        lines.append(
            [row.name, *map(short, row.point.values()), row.state, str(row.epochs)]
            + ["-" if score is None else f"{score:.3f}" for score in scores]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def short(value: Any) -> str:
    """A setting's value in a few characters."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def ended_line(record: TrialRecord, records: Sequence[TrialRecord], trials: int) -> str:
    """What is logged when a trial has ended."""
    ended = sum(one.ended for one in records)
    best = min(records, key=rank)
    what = f"{record.name} {record.state} after {len(record.history)} epochs"
    if record.error is not None:
        what += f" ({record.error})"
    elif record.score is not None:
        what += f", score {record.score:.3f}"
    leader = f"; best so far: {best.name}, {best.score:.3f}" if best.ranked else ""
    return f"{what}; {ended} of {trials} trials ended{leader}"


def write_parquet(location: str, rows: Sequence[Row]) -> None:
    """Write the rows, with a column for each searched setting and metric."""
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    columns = [
        {
            **{name: value for name, value in asdict(row).items() if not isinstance(value, dict)},
            **{name: plain(value) for name, value in row.point.items()},
            **{name: row.metrics.get(name) for name in names},
        }
        for row in rows
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(columns), file)
    storage.write_bytes(location, file.getvalue())
