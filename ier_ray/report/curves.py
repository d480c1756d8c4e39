"""Plots of a training: losses and accuracies by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes

from ier_ray.report.svg import BLUE, GREEN, ORANGE, Plot, canvas, whole_numbers

History = list[dict[str, Any]]
LOSSES = {
    "fer": ("cross-entropy FER", BLUE, "o"),
    "ier": ("cross-entropy IER", ORANGE, "s"),
    "discrepancy": ("discrepancy", GREEN, "^"),
}
ACCURACIES = {
    "fer_accuracy": ("FER network", BLUE, "o"),
    "ier_accuracy": ("IER network", ORANGE, "s"),
}
WARMUP = "#8a949e"


def learning_curves(
    histories: Sequence[History], *, warmup_epochs: int, best_epochs: Sequence[int]
) -> Iterator[Plot]:
    """Training losses, and validation accuracies; of several folds a thin line each.

    Args:
        best_epochs: of each training, the selected epoch.
    """
    several = len(histories) > 1
    with canvas("Training losses", "epoch", "mean loss per image (nats)") as made:
        _draw(made.axes, histories, LOSSES, warmup_epochs)
        made.axes.set_ylim(bottom=0)
        _mark(made.axes, warmup_epochs, best_epochs)
        yield made.plot("Parts of the training loss by epoch")
    if not any(
        name in record for history in histories for record in history for name in ACCURACIES
    ):
        return
    note = "Each fold is a line. " if several else ""
    with canvas("Validation accuracy", "epoch", "accuracy (share of images)") as made:
        _draw(made.axes, histories, ACCURACIES, 0)
        made.axes.set_ylim(0, 1.02)
        _mark(made.axes, warmup_epochs, best_epochs)
        yield made.plot(
            "Accuracy of the networks on the validation part by epoch",
            note=f"{note}The validation part selects the epoch (dotted): these are no results.",
        )


def _draw(
    axes: Axes, histories: Sequence[History], lines: dict[str, tuple[str, str, str]], warmup: int
) -> None:
    for name, (label, color, marker) in lines.items():
        shown = label
        for history in histories:
            records = [record for record in history if name in record]
            if name == "discrepancy":
                records = [record for record in records if record["epoch"] > warmup]
            if records:
                axes.plot(
                    [record["epoch"] for record in records],
                    [record[name] for record in records],
                    color=color,
                    marker=marker,
                    markersize=3 if len(histories) > 1 else 4.5,
                    linewidth=0.9 if len(histories) > 1 else 1.6,
                    label=shown,
                )
                shown = "_"


def _mark(axes: Axes, warmup: int, best_epochs: Sequence[int]) -> None:
    if warmup:
        axes.axvspan(0.5, warmup + 0.5, color=WARMUP, alpha=0.18, linewidth=0, label="warm-up")
    for number, epoch in enumerate(best_epochs):
        label = "selected epoch" if number == 0 else "_"
        axes.axvline(epoch, color=WARMUP, linestyle=":", label=label)
    whole_numbers(axes)
    axes.grid(visible=True)
    axes.figure.legend(loc="outside lower center", ncols=2)
