"""Evaluations as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from ier_ray.errors import DataError
from ier_ray.evaluation.intervals import Interval
from ier_ray.evaluation.metrics import Metrics
from ier_ray.evaluation.summary import FOLD_FIGURES, Evaluation, FoldTable

NOTHING = "-"


def as_table(evaluations: Sequence[Evaluation]) -> str:
    """One line per evaluation, a second one where there are figures after adjustment to a prior.

    Raises:
        DataError: when there is none, or their classes differ.
    """
    if len({evaluation.classes for evaluation in evaluations}) != 1:
        raise DataError("a table holds evaluations (at least one) of the same classes")
    recalls = [f"recall {name}" for name in evaluations[0].classes]
    head = ["domain", "data", "part", "images", "accuracy", "balanced accuracy", "macro F1"]
    rows = [[*head, "majority", *recalls]]
    for evaluation in evaluations:
        rows += _rows(evaluation)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    seen = [evaluation for evaluation in evaluations if evaluation.seen]
    lines += [
        f"* {evaluation.seen} of the {evaluation.samples} {evaluation.domain} images trained or "
        f"selected the checkpoint: this is not a result"
        for evaluation in seen
    ]
    return "\n".join(lines)


def _rows(evaluation: Evaluation) -> list[list[str]]:
    mark = "*" if evaluation.seen else ""
    what = [
        evaluation.domain,
        ", ".join(evaluation.datasets),
        evaluation.part or NOTHING,
        f"{evaluation.samples}{mark}",
    ]
    given = _figures(
        evaluation, evaluation.accuracy_interval, evaluation.balanced_accuracy_interval
    )
    rows = [[*what, *given]]
    if evaluation.adjusted is not None:
        rows.append(["", "adjusted to the prior", "", "", *_figures(evaluation.adjusted)])
    return rows


def _figures(
    metrics: Metrics, accuracy: Interval | None = None, balanced: Interval | None = None
) -> list[str]:
    recalls = [metrics.recall[name] for name in metrics.classes]
    return [
        _with_interval(metrics.accuracy, accuracy),
        _with_interval(metrics.balanced_accuracy, balanced),
        _written(metrics.macro_f1),
        _written(metrics.majority_share),
        *map(_written, recalls),
    ]


def _with_interval(value: float, interval: Interval | None) -> str:
    if interval is None:
        return _written(value)
    return f"{_written(value)} [{_written(interval.low)}, {_written(interval.high)}]"


def _written(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def folds_as_table(tables: Sequence[FoldTable]) -> str:
    """Each domain's test folds, their mean and standard deviation, and the folds together."""
    return "\n\n".join(_folds(table) for table in tables)


def _folds(table: FoldTable) -> str:
    lines = [f"{table.domain} test fold" + "".join(f"  {name:>17}" for name in FOLD_FIGURES)]
    for row in table.folds:
        values = "".join(f"  {getattr(row.metrics, name):17.4f}" for name in FOLD_FIGURES)
        lines.append(f"{row.fold:<13}{values}")
    ends = []
    for name in FOLD_FIGURES:
        std = table.std[name]
        ends.append(f"{table.mean[name]:.4f}" + (f" ± {std:.4f}" if std is not None else ""))
    lines.append("mean ± std   " + "".join(f"  {end:>17}" for end in ends))
    pooled = table.pooled
    accuracy = _with_interval(pooled.accuracy, pooled.accuracy_interval)
    balanced = _with_interval(pooled.balanced_accuracy, pooled.balanced_accuracy_interval)
    lines.append(
        f"together: {pooled.samples} images, accuracy {accuracy}, balanced accuracy {balanced}, "
        f"majority class {pooled.majority_share:.4f}"
    )
    return "\n".join(lines)
