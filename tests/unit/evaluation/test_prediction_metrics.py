"""Metrics equal those of scikit-learn and torchmetrics, and values computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from support.predictions import CLASSES, random_probabilities
from torchmetrics.functional import classification as torchmetrics

from ier_ray.errors import DataError
from ier_ray.evaluation.metrics import (
    Metrics,
    accuracy,
    balanced_accuracy,
    brier,
    calibration_error,
    log_loss,
    macro_f1,
    measure,
)

NAMES = ("a", "b", "c", "d", "e", "f", "g")


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_the_references(seed: int) -> None:
    probabilities, labels = random_probabilities(997, seed=seed, classes=7)
    found = measure(probabilities, labels, NAMES)
    predicted = probabilities.argmax(1)
    expected: dict[str, Any] = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
        "macro_f1": sklearn_metrics.f1_score(labels, predicted, average="macro"),
        "log_loss": sklearn_metrics.log_loss(labels, probabilities),
        "majority_share": np.bincount(labels).max() / 997,
    }
    assert found.confusion == sklearn_metrics.confusion_matrix(labels, predicted).tolist()
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-9), name
    recalls = sklearn_metrics.recall_score(labels, predicted, average=None)
    scores = sklearn_metrics.f1_score(labels, predicted, average=None)
    assert found.recall == pytest.approx(dict(zip(NAMES, recalls, strict=True)), abs=1e-9)
    assert found.f1 == pytest.approx(dict(zip(NAMES, scores, strict=True)), abs=1e-9)
    one_against_rest = [
        sklearn_metrics.brier_score_loss(labels == k, probabilities[:, k]) for k in range(7)
    ]
    assert found.brier == pytest.approx(sum(one_against_rest), abs=1e-9)
    given = torch.tensor(probabilities), torch.tensor(labels)
    for name, reference in (
        ("accuracy", torchmetrics.multiclass_accuracy(*given, 7, average="micro")),
        ("balanced_accuracy", torchmetrics.multiclass_accuracy(*given, 7, average="macro")),
        ("macro_f1", torchmetrics.multiclass_f1_score(*given, 7, average="macro")),
    ):
        assert getattr(found, name) == pytest.approx(float(reference), abs=1e-6)  # float32


def test_the_functions_are_what_the_record_holds() -> None:
    probabilities, labels = random_probabilities(400, seed=3)
    found = measure(probabilities, labels, CLASSES)
    for name, function in (
        ("accuracy", accuracy),
        ("balanced_accuracy", balanced_accuracy),
        ("macro_f1", macro_f1),
        ("log_loss", log_loss),
        ("brier", brier),
        ("calibration_error", calibration_error),
    ):
        assert function(probabilities, labels) == getattr(found, name)


def test_absent_classes_by_hand() -> None:
    # True happy twice, sad once; predicted happy, sad, hate; anger neither occurs nor is predicted.
    probabilities = np.eye(4)[[0, 1, 2]]
    found = measure(probabilities, np.array([0, 0, 1]), CLASSES)
    assert found.recall == {"happy": 0.5, "sad": 0.0, "hate": None, "anger": None}
    assert found.balanced_accuracy == 0.25  # of happy and sad
    assert found.f1 == {"happy": pytest.approx(2 / 3), "sad": 0.0, "hate": 0.0, "anger": 0.0}
    assert found.macro_f1 == pytest.approx(2 / 9)  # of happy, sad and hate
    assert found.majority_share == pytest.approx(2 / 3)
    assert found.brier == pytest.approx(4 / 3)


def test_a_certain_error_costs_a_finite_log_loss() -> None:
    assert log_loss(np.eye(2), np.array([1, 0])) == pytest.approx(-np.log(np.finfo(float).eps))
    assert log_loss(np.eye(2), np.array([0, 1])) == 0
    assert brier(np.eye(2), np.array([1, 0])) == 2


def test_calibration_error_by_hand() -> None:
    # Two bins of two images: confidences .6, .7 (one right) and .8, .9 (both right).
    confidence = np.array([0.8, 0.6, 0.9, 0.7])
    probabilities = np.stack([confidence, 1 - confidence], 1)
    labels = np.array([0, 1, 0, 0])
    expected = (abs(0.5 - 0.65) + abs(1 - 0.85)) / 2
    assert calibration_error(probabilities, labels, bins=2) == pytest.approx(expected, abs=1e-12)


def test_images_of_equal_confidence_share_their_accuracy() -> None:
    # In each of two bins, confidence .7 and accuracy 3/4, wherever the wrong one stands.
    probabilities = np.tile([0.7, 0.3], (4, 1))
    for wrong in range(4):
        labels = (np.arange(4) == wrong).astype(np.int64)
        found = calibration_error(probabilities, labels, bins=2)
        assert found == pytest.approx(0.05, abs=1e-12)


def test_calibration_error_equals_bins_made_by_hand() -> None:
    probabilities, labels = random_probabilities(1003, seed=2)
    order = np.argsort(probabilities.max(1))
    parts = np.array_split(order, 15)
    error = 0.0
    for part in parts:
        right = (probabilities[part].argmax(1) == labels[part]).mean()
        error += len(part) / 1003 * abs(right - probabilities[part].max(1).mean())
    assert calibration_error(probabilities, labels) == pytest.approx(error, abs=1e-12)


def test_calibrated_predictions_have_a_small_error() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4), size=60_000)
    labels = (probabilities.cumsum(1) < generator.random((60_000, 1))).sum(1)
    assert calibration_error(probabilities, labels) < 0.01
    sharpened = probabilities**3 / (probabilities**3).sum(1, keepdims=True)
    assert calibration_error(sharpened, labels) > 0.1


def test_no_calibration_is_claimed_for_few_images() -> None:
    probabilities, labels = random_probabilities(300, seed=0)
    assert measure(probabilities[:299], labels[:299], CLASSES).calibration_error is None
    assert measure(probabilities, labels, CLASSES).calibration_error is not None


def test_permuting_rows_changes_nothing() -> None:
    probabilities, labels = random_probabilities(500, seed=4)
    probabilities = np.round(probabilities * 20 + 1)  # many ties
    probabilities /= probabilities.sum(1, keepdims=True)
    order = np.random.default_rng(0).permutation(500)
    first = measure(probabilities, labels, CLASSES)
    second = measure(probabilities[order], labels[order], CLASSES)
    assert flat(second) == pytest.approx(flat(first), abs=1e-12)


def flat(found: Metrics) -> list[float]:
    numbers = [value for value in vars(found).values() if isinstance(value, float)]
    return [*numbers, *np.ravel(found.confusion).tolist()]


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(DataError, match="no predictions to measure"):
        measure(np.empty((0, 4)), np.empty(0, dtype=np.int64), CLASSES)
