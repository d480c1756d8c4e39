"""Plots of test predictions: confusion, calibration, risk and coverage, and differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ier_ray.evaluation.calibration import CalibrationBin
from ier_ray.evaluation.intervals import Interval
from ier_ray.evaluation.metrics import Metrics
from ier_ray.evaluation.selective import RiskCoverage
from ier_ray.report.svg import BLUE, COLORS, INK, MARKERS, ORANGE, Plot, canvas

MOST_POINTS = 400
"""Of a curve: more cannot be told apart."""


def confusion_plot(metrics: Metrics, title: str) -> Plot:
    """Counts and shares of each true class (Fig. 4 of the paper)."""
    counts = np.asarray(metrics.confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    classes, side = metrics.classes, max(3.4, 0.62 * len(metrics.classes) + 1.4)
    heading = f"Confusion matrix\n{title}"
    with canvas(heading, "predicted class", "true class", size=(side + 0.8, side)) as made:
        axes = made.axes
        mesh = axes.pcolormesh(shares * 100, cmap="Blues", vmin=0, vmax=100, edgecolors="face")
        for (row, column), count in np.ndenumerate(counts):
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{count}\n{100 * shares[row, column]:.0f} %",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[row, column] > 0.5 else "#0a2233",
            )
        ticks = np.arange(len(classes)) + 0.5
        axes.set_xticks(ticks, classes, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, classes)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        bar = axes.figure.colorbar(mesh, ax=axes, shrink=0.8)
        bar.set_label("share of the true class (%)")
        bar.outline.set_visible(False)
        return made.plot(
            f"Confusion matrix, {title}: rows are true classes, columns predicted ones"
        )


def calibration_plot(bins: Sequence[CalibrationBin], title: str, *, error: float) -> Plot:
    """Accuracy against confidence, in bins of equally many images."""
    heading, y = f"Calibration\n{title}", "accuracy (share of images)"
    with canvas(heading, "confidence (probability)", y) as made:
        axes = made.axes
        confidence = [one.confidence for one in bins]
        accuracy = np.array([one.accuracy for one in bins])
        ends = [accuracy - [one.low for one in bins], [one.high for one in bins] - accuracy]
        axes.plot([0, 1], [0, 1], linestyle="--", color=INK, alpha=0.6, label="calibrated")
        axes.errorbar(
            confidence, accuracy, np.maximum(ends, 0), fmt="o-", color=BLUE, capsize=2, label="bins"
        )
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.grid(visible=True)
        axes.figure.legend(loc="outside lower center", ncols=2)
        return made.plot(
            f"Calibration, {title}",
            note=f"{len(bins)} bins of equally many images, with 95 % intervals (Wilson); above "
            f"the dashed line the network is too doubtful, below it too sure. Expected calibration "
            f"error {error:.3f}.",
        )


def risk_plot(curves: dict[str, RiskCoverage], title: str) -> Plot:
    """Share of errors against the share of images that are answered."""
    heading, x = f"Risk and coverage\n{title}", "coverage (share of images answered)"
    with canvas(heading, x, "risk (share of errors)") as made:
        axes = made.axes
        for number, (name, curve) in enumerate(curves.items()):
            shown = np.unique(
                np.linspace(0, len(curve.risk) - 1, MOST_POINTS).round().astype(np.int64)
            )
            color = COLORS[number % len(COLORS)]
            axes.plot(curve.coverage[shown], curve.risk[shown], color=color, label=name)
        axes.set(xlim=(0, 1.02), ylim=(0, None))
        axes.grid(visible=True)
        if len(curves) > 1:
            axes.figure.legend(loc="outside lower center", ncols=2)
        if len(curves) > 1:
            areas = ", ".join(f"{name} {curve.area:.3f}" for name, curve in curves.items())
            areas = f"Areas under the curves: {areas}."
        else:
            areas = (
                f"Area under the curve {curve.area:.3f}; of a random order {curve.error:.3f}, of "
                f"the best possible one {curve.best_area:.3f}."
            )
        return made.plot(
            f"Risk against coverage, {title}",
            note=f"The network answers the images it is most sure of first. {areas}",
        )


def intervals_plot(
    rows: Sequence[tuple[str, float, Interval | None]],
    title: str,
    axis: str,
    *,
    marks: dict[str, float],
) -> Plot:
    """Figures with their intervals, one per line.

    Args:
        rows: name, figure and interval.
        marks: vertical lines with their names, such as chance.
    """
    with canvas(title, axis, "", size=(4.2, 1.35 + 0.34 * len(rows))) as made:
        axes = made.axes
        for position, (_, value, interval) in enumerate(rows):
            if interval is not None:
                axes.plot([interval.low, interval.high], [position] * 2, color=BLUE, linewidth=2)
            axes.plot([value], [position], "o", color=BLUE)
        for number, (name, value) in enumerate(marks.items()):
            style = ("--", ":")[number % 2]
            color = (INK, ORANGE)[number % 2]
            axes.axvline(value, color=color, linestyle=style, label=name)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=True, axis="x")
        axes.set_xlim(0, 1.02)
        axes.figure.legend(loc="outside lower center", ncols=2)
        return made.plot(f"{title}: figures with their 95 % intervals")


def marker(number: int) -> str:
    """The marker of a line, one of a cycle."""
    return MARKERS[number % len(MARKERS)]
