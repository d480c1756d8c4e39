"""What a cell shows: figures of its units, sums of other rows, or of a human study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Literal

from ier_ray.config import Settings
from ier_ray.evaluation.intervals import bootstrap_interval
from ier_ray.evaluation.metrics import accuracy
from ier_ray.evaluation.predictions import Predictions
from ier_ray.experiments.expansion import Cell
from ier_ray.experiments.grid import JOINED
from ier_ray.experiments.studies import study_figure
from ier_ray.experiments.units import UnitResult

State = Literal["finished", "failed", "skipped"]


class Entry(Settings):
    """What a cell shows. Accuracies are shares from 0 to 1."""

    row: str
    """Its row."""
    column: str
    """Its column."""
    measure: str
    """What was measured."""
    state: State
    """Whether there is a figure."""
    reason: str | None = None
    """Why there is none."""
    value: float | None = None
    """The figure: the accuracy on the test images of all units, or the mean over units."""
    low: float | None = None
    """Lower end of the 95 % interval, over groups of images."""
    high: float | None = None
    """Upper end of it."""
    std: float | None = None
    """Standard deviation over folds and seeds."""
    majority: float | None = None
    """Share of the most frequent class among the test images."""
    units: int = 0
    """Folds and seeds that the figure is over."""
    images: int | None = None
    """Test predictions."""
    paper: float | str | None = None
    """The paper's figure, where dataset and scheme are the same."""
    paper_spread: float | None = None
    """What the paper prints behind ±."""
    keys: tuple[str, ...] = ()
    """Keys of its units' results."""


def entry_of(
    cell: Cell, results: Mapping[str, UnitResult], predictions: Mapping[str, Predictions] | None
) -> Entry:
    """What a cell shows."""
    keys = tuple(unit.key for unit in cell.units)
    entry = Entry(
        row=cell.row, column=cell.column, measure=cell.measure, state="finished", keys=keys
    )
    if cell.skipped is not None:
        return entry.model_copy(update={"state": "skipped", "reason": cell.skipped})
    if cell.study is not None:
        return entry.model_copy(update=study_figure(cell.study, cell.measure))
    failures = [reason for key in keys if (reason := results[key].failed)]
    if failures:
        count = f"{len(failures)} of {len(keys)} units: " if len(keys) > 1 else ""
        return entry.model_copy(update={"state": "failed", "reason": f"{count}{failures[0]}"})
    measured = [results[key].measures for key in keys]
    values = [float(value) for m in measured if (value := m.get(cell.measure)) is not None]
    if not values:
        return entry.model_copy(
            update={"state": "skipped", "reason": f"{cell.measure} does not apply"}
        )
    figures = {
        "value": fmean(values),
        "std": stdev(values) if len(values) > 1 else None,
        "units": len(values),
        "low": measured[0].get(f"{cell.measure}_low"),
        "high": measured[0].get(f"{cell.measure}_high"),
    }
    if predictions is not None and cell.measure == "accuracy":
        figures |= pooled(predictions)
    return entry.model_copy(update=figures)


def pooled(predictions: Mapping[str, Predictions]) -> dict[str, float | int | None]:
    """Accuracy on all units' test images, with its interval over groups."""
    together = Predictions.concatenated(list(predictions.values()))
    counts = [int((together.labels == label).sum()) for label in range(len(together.classes))]
    interval = bootstrap_interval(
        accuracy, together.probabilities, together.labels, together.groups, seed=0
    )
    return {
        "value": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "majority": max(counts) / len(together),
        "images": len(together),
    }


def with_sums(cells: Sequence[Cell], entries: Sequence[Entry]) -> list[Entry]:
    """The entries, with those that are sums of other rows of their column."""
    found = {(entry.row, entry.column): entry for entry in entries}
    for cell in cells:
        if cell.sums is not None:
            found[cell.row, cell.column] = summed(cell, found)
    return list(found.values())


def summed(cell: Cell, entries: Mapping[tuple[str, str], Entry]) -> Entry:
    """The sum of other rows that a cell shows."""
    assert cell.sums is not None  # noqa: S101 (checked by the caller)
    *outer, _ = cell.row.split(JOINED)
    needed = [*cell.sums.sum_of, *([cell.sums.over] if cell.sums.over else [])]
    others = {name: entries.get((JOINED.join([*outer, name]), cell.column)) for name in needed}
    entry = Entry(row=cell.row, column=cell.column, measure=cell.measure, state="skipped")
    for name in (needed[0], *needed[len(cell.sums.sum_of) :]):
        other = others[name]
        if other is None or other.value is None:
            return entry.model_copy(update={"reason": f"there is no figure of {name}"})
    total = sum(
        factor * other.value
        for name, factor in cell.sums.sum_of.items()
        if (other := others[name]) is not None and other.value is not None
    )
    divisor = others[cell.sums.over] if cell.sums.over else None
    if divisor is not None and divisor.value is not None:
        total /= divisor.value
    return entry.model_copy(update={"state": "finished", "value": total})
