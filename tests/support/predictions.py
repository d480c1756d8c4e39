"""Random predictions, as a checkpoint might make them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ier_ray.evaluation.predictions import Predictions

CLASSES = ("happy", "sad", "hate", "anger")


def random_probabilities(
    rows: int, *, seed: int, classes: int = len(CLASSES)
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities ``(N, K)`` that know something of the labels ``(N,)``."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(
        classes, size=rows, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2)
    )
    logits = generator.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[labels]
    powers = np.exp(logits)
    return powers / powers.sum(1, keepdims=True), labels.astype(np.int64)


def random_predictions(rows: int = 60, *, seed: int = 0, **columns: Any) -> Predictions:
    """Test predictions of IER images, two to a group, in five folds; ``columns`` replace some."""
    probabilities, labels = random_probabilities(rows, seed=seed)
    numbers = np.arange(rows)
    given: dict[str, Any] = {
        "sample_ids": np.array([f"image-{n:04d}" for n in numbers]),
        "groups": np.array([f"group-{n // 2}" for n in numbers]),
        "datasets": np.full(rows, "artphoto"),
        "domains": np.full(rows, "ier"),
        "parts": np.full(rows, "test"),
        "folds": (numbers // 2 % 5).astype(np.int8),
        "labels": labels,
        "probabilities": probabilities,
        "runs": np.full(rows, "first"),
        "seeds": np.zeros(rows, dtype=np.int64),
        "seen": np.zeros(rows, dtype=np.bool_),
        "classes": CLASSES,
    }
    return Predictions(**{**given, **columns})
