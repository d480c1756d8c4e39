"""Figures of each class, with intervals over groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ier_ray.evaluation.intervals import RESAMPLES, Interval, bootstrap_class_intervals
from ier_ray.evaluation.metrics import confusion_matrix, f1_of, precision_of, recall_of
from ier_ray.evaluation.predictions import Predictions


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is recognized."""

    name: str
    images: int
    """Images of the class."""
    predicted: int
    """Images that are predicted to be of the class."""
    precision: float | None
    """Share of the class among those; None where there is none."""
    recall: float | None
    """Share of the class's images that are predicted so; None for a class that does not occur."""
    recall_interval: Interval | None
    """95 % bootstrap interval over groups; None where there is no recall, or a single group."""
    f1: float
    """0 for a class that neither occurs nor is predicted."""


def per_class(
    predictions: Predictions, *, seed: int = 0, resamples: int = RESAMPLES
) -> list[ClassFigures]:
    """The figures of each class, in the order of the classes."""
    counts = confusion_matrix(predictions.probabilities, predictions.labels)
    confusion = counts.astype(np.float64)
    intervals: Sequence[Interval | None] = [None] * len(predictions.classes)
    if len(np.unique(predictions.groups)) > 1:
        intervals = bootstrap_class_intervals(
            recall_of, predictions, seed=seed, resamples=resamples
        )
    values = zip(
        predictions.classes,
        counts.sum(1).tolist(),
        counts.sum(0).tolist(),
        precision_of(confusion).tolist(),
        recall_of(confusion).tolist(),
        intervals,
        f1_of(confusion).tolist(),
        strict=True,
    )
    return [
        ClassFigures(
            name=name,
            images=images,
            predicted=predicted,
            precision=precision if predicted else None,
            recall=recall if images else None,
            recall_interval=interval if images else None,
            f1=f1,
        )
        for name, images, predicted, precision, recall, interval, f1 in values
    ]
