"""Figures of the report, each as a data URI."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ier_ray.cluster.explainer import ExplainedImage
from ier_ray.data.images import encode_png
from ier_ray.data.samples import NamedImage
from ier_ray.evaluation.summary import Evaluation
from ier_ray.explain.rendering import overlay

COLORS = {"fer": "#4477aa", "ier": "#cc6633", "discrepancy": "#228833"}
THUMBNAIL = 224
"""Side of an explained image in pixels."""


def learning_curves(history: list[dict[str, Any]], warmup_epochs: int) -> str:
    """Loss parts and both validation accuracies over epochs."""
    epochs = [record["epoch"] for record in history]
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    for name, label in (("fer", "cross-entropy FER"), ("ier", "cross-entropy IER")):
        losses.plot(epochs, [r[name] for r in history], "o-", color=COLORS[name], label=label)
        values = [r[f"{name}_accuracy"] for r in history if f"{name}_accuracy" in r]
        if values:  # a run that may read no IER label has none
            network = f"{name.upper()} network"
            accuracies.plot(epochs, values, "o-", color=COLORS[name], label=network)
    trained = [r for r in history if r["epoch"] > warmup_epochs]
    losses.plot(
        [r["epoch"] for r in trained],
        [r["discrepancy"] for r in trained],
        "s-",
        color=COLORS["discrepancy"],
        label="discrepancy",
    )
    losses.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    accuracies.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1.02))
    for axes in (losses, accuracies):
        axes.axvspan(0.5, warmup_epochs + 0.5, color="0.93", label="warm-up")
        axes.set_xlim(0.5, max(epochs) + 0.5)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    return figure_uri(figure)


def confusion(evaluation: Evaluation) -> str:
    """Confusion matrix with counts, colored by each row's fractions."""
    counts = np.asarray(evaluation.confusion)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(4.4, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if fractions[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=color)
    ticks = range(len(evaluation.classes))
    axes.set_xticks(ticks, evaluation.classes)
    axes.set_yticks(ticks, evaluation.classes)
    axes.set(xlabel="predicted", ylabel="true")
    return figure_uri(figure)


def explained_pair(image: NamedImage, record: ExplainedImage) -> dict[str, str]:
    """An image with its cue mask outlined, and its heat map."""
    figure = Figure(figsize=(2, 2), dpi=THUMBNAIL / 2)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image.pixels, interpolation="nearest")
    if image.cue_mask is not None:
        axes.contour(image.cue_mask, levels=[0.5], colors="#00e0a0", linewidths=1.5)
    axes.axis("off")
    heat = overlay(image.pixels, record.density, size=THUMBNAIL)
    return {"image": figure_uri(figure), "heat": png_uri(encode_png(heat))}


def figure_uri(figure: Figure) -> str:
    """A figure as a PNG data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi if figure.dpi != 100 else 130)
    return png_uri(buffer.getvalue())


def png_uri(content: bytes) -> str:
    """PNG bytes as a data URI."""
    return "data:image/png;base64," + base64.b64encode(content).decode()
