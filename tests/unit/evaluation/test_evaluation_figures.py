"""Calibration, risk and coverage, figures of classes and comparisons equal their references."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from support.predictions import CLASSES, random_predictions, random_probabilities
from torchmetrics.functional.classification import multiclass_calibration_error

from ier_ray.errors import DataError
from ier_ray.evaluation.calibration import calibration_bins, wilson_interval
from ier_ray.evaluation.classes import per_class
from ier_ray.evaluation.comparison import compared
from ier_ray.evaluation.confident_errors import most_confident_errors
from ier_ray.evaluation.intervals import bootstrap_interval
from ier_ray.evaluation.metrics import ConfusionMetric, calibration_error, recall_of
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.selective import risk_coverage


@pytest.mark.parametrize("seed", range(3))
def test_bins_have_equally_many_images_and_give_the_calibration_error(seed: int) -> None:
    probabilities, labels = random_probabilities(451, seed=seed)
    bins = calibration_bins(probabilities, labels)
    assert bins is not None
    assert [one.images for one in bins] == [31] + [30] * 14
    confidences = np.sort(probabilities.max(1))
    assert bins[0].confidence == pytest.approx(confidences[:31].mean(), abs=1e-12)
    assert [one.confidence for one in bins] == sorted(one.confidence for one in bins)
    error = sum(one.images * abs(one.accuracy - one.confidence) for one in bins) / 451
    assert error == pytest.approx(calibration_error(probabilities, labels), abs=1e-12)
    for one in bins:
        right = round(one.accuracy * one.images)
        reference = proportion_confint(right, one.images, method="wilson")
        assert (one.low, one.high) == pytest.approx(reference, abs=1e-9)


def test_a_single_bin_equals_torchmetrics() -> None:
    probabilities, labels = random_probabilities(400, seed=4)
    bins = calibration_bins(probabilities, labels, bins=1)
    assert bins is not None
    reference = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(labels), num_classes=4, n_bins=1, norm="l1"
    )
    assert abs(bins[0].accuracy - bins[0].confidence) == pytest.approx(float(reference), abs=1e-6)


def test_no_calibration_is_claimed_for_few_images() -> None:
    assert calibration_bins(*random_probabilities(299, seed=0)) is None
    assert calibration_bins(*random_probabilities(300, seed=0)) is not None


@pytest.mark.parametrize(("share", "count"), [(0.0, 5), (1.0, 5), (0.5, 30), (0.9, 1000)])
def test_the_wilson_interval_equals_statsmodels(share: float, count: int) -> None:
    reference = proportion_confint(share * count, count, alpha=0.1, method="wilson")
    assert wilson_interval(share, count, level=0.9) == pytest.approx(reference, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_risk_is_the_error_of_the_most_confident_images(seed: int) -> None:
    probabilities, labels = random_probabilities(80, seed=seed)
    found = risk_coverage(probabilities, labels)
    order = np.argsort(-probabilities.max(1))
    given, true = probabilities.argmax(1)[order], labels[order]
    reference = [1 - accuracy_score(true[:n], given[:n]) for n in range(1, 81)]
    assert found.risk.tolist() == pytest.approx(reference, abs=1e-12)
    assert found.coverage[[0, -1]].tolist() == [1 / 80, 1]
    assert found.area == pytest.approx(np.mean(reference), abs=1e-12)
    assert found.error == pytest.approx(reference[-1])
    assert found.at(0.5) == pytest.approx(reference[39])
    assert found.best_area <= found.area
    shuffled = np.random.default_rng(seed).permutation(80)
    assert risk_coverage(probabilities[shuffled], labels[shuffled]).area == pytest.approx(
        found.area, abs=1e-12
    )


def confident(*values: float) -> NDArray[np.float64]:
    """Class 0 is predicted, with these probabilities."""
    own = np.array(values)[:, None]
    return np.concatenate([own, 1 - own], axis=1)


def test_risk_and_coverage_by_hand() -> None:
    # Most confident first: right, wrong, right, wrong. Risks 0, 1/2, 1/3, 2/4.
    found = risk_coverage(confident(0.9, 0.8, 0.7, 0.6), np.array([0, 1, 0, 1]))
    assert found.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert found.area == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.best_area == pytest.approx((1 / 3 + 1 / 2) / 4)  # both errors last
    # A confidence that tells nothing has the error rate everywhere.
    tied = risk_coverage(confident(0.8, 0.8, 0.8, 0.8), np.array([0, 1, 0, 1]))
    assert tied.risk.tolist() == pytest.approx([0.5] * 4)


@pytest.mark.parametrize("seed", range(3))
def test_figures_of_classes_equal_sklearn(seed: int) -> None:
    predictions = random_predictions(90, seed=seed)
    given = predictions.probabilities.argmax(1)
    precision, recall, f1, support = precision_recall_fscore_support(
        predictions.labels, given, labels=range(4), zero_division=0
    )
    found = per_class(predictions, resamples=50)
    assert [one.name for one in found] == list(CLASSES)
    assert [one.precision or 0 for one in found] == pytest.approx(precision.tolist(), abs=1e-12)
    assert [one.recall or 0 for one in found] == pytest.approx(recall.tolist(), abs=1e-12)
    assert [one.f1 for one in found] == pytest.approx(f1.tolist(), abs=1e-12)
    assert [one.images for one in found] == support.tolist()
    assert [one.predicted for one in found] == np.bincount(given, minlength=4).tolist()


def test_the_interval_of_a_recall_is_that_of_the_metric_alone() -> None:
    predictions = random_predictions(120, seed=3)
    found = per_class(predictions, seed=5, resamples=300)
    for number, one in enumerate(found):
        alone = ConfusionMetric(lambda c, number=number: recall_of(c)[..., number])  # type: ignore[misc]
        expected = bootstrap_interval(
            alone,
            predictions.probabilities,
            predictions.labels,
            predictions.groups,
            seed=5,
            resamples=300,
        )
        assert one.recall_interval is not None
        assert vars(one.recall_interval) == pytest.approx(vars(expected), abs=1e-12)


def test_a_class_that_does_not_occur_has_no_recall() -> None:
    predictions = random_predictions(60, seed=0)
    without = predictions.select(predictions.labels != 0)
    first = per_class(without, resamples=20)[0]
    assert (first.images, first.recall, first.recall_interval) == (0, None, None)
    alone = per_class(replace(predictions, groups=np.full(60, "one")), resamples=20)
    assert [one.recall_interval for one in alone] == [None] * 4


def test_the_most_confident_errors_come_first() -> None:
    predictions = random_predictions(200, seed=2)
    found = most_confident_errors(predictions, most=7)
    assert len(found) == 7
    assert (found.probabilities.argmax(1) != found.labels).all()
    confidence = found.probabilities.max(1)
    assert confidence.tolist() == sorted(confidence.tolist(), reverse=True)
    wrong = predictions.probabilities.argmax(1) != predictions.labels
    assert confidence[0] == predictions.probabilities[wrong].max()
    left = np.setdiff1d(predictions.sample_ids[wrong], found.sample_ids)
    rest = predictions.select(np.isin(predictions.sample_ids, left))
    assert rest.probabilities.max() <= confidence[-1]
    reversed_rows = predictions.select(np.arange(200)[::-1])
    again = most_confident_errors(reversed_rows, most=7)
    assert again.sample_ids.tolist() == found.sample_ids.tolist()
    perfect = replace(predictions, probabilities=np.eye(4)[predictions.labels])
    assert len(most_confident_errors(perfect)) == 0


def models(count: int, **columns: Any) -> dict[str, Predictions]:
    first = random_predictions(120, seed=0, **columns)
    found = {"model 0": first}
    for number in range(1, count):
        logits = np.log(first.probabilities)
        logits = logits + np.random.default_rng(number).normal(0, number, logits.shape)
        powers = np.exp(logits)
        found[f"model {number}"] = replace(
            first, probabilities=powers / powers.sum(1, keepdims=True)
        )
    return found


def right(predictions: Predictions) -> NDArray[np.bool_]:
    return predictions.probabilities.argmax(1) == predictions.labels


def test_comparisons_equal_statsmodels_and_holm_is_over_all_pairs() -> None:
    given = models(3)
    found = compared(given, seed=1, resamples=200)
    assert [(one.first, one.second) for one in found] == [
        ("model 0", "model 1"),
        ("model 0", "model 2"),
        ("model 1", "model 2"),
    ]
    for one in found:
        own, other = right(given[one.first]), right(given[one.second])
        table = [[int((a & b).sum()) for b in (other, ~other)] for a in (own, ~own)]
        expected = reference_mcnemar(table, exact=True).pvalue
        assert one.test.p_value == pytest.approx(expected, abs=1e-9)
        assert one.accuracy.estimate == pytest.approx(own.mean() - other.mean(), abs=1e-12)
        assert one.accuracy.low <= one.accuracy.estimate <= one.accuracy.high
        assert one.images == 120
    adjusted = multipletests([one.test.p_value for one in found], method="holm")[1]
    assert [one.adjusted_p_value for one in found] == pytest.approx(adjusted.tolist(), abs=1e-9)


def test_rows_may_come_in_another_order() -> None:
    given = models(2)
    other = given["model 1"].select(np.random.default_rng(0).permutation(120))
    again = compared({"model 0": given["model 0"], "model 1": other}, resamples=100)
    assert again == compared(given, resamples=100)


def test_models_of_other_images_are_refused_by_name() -> None:
    given = models(2)
    fewer = {**given, "model 1": given["model 1"].select(np.arange(100))}
    with pytest.raises(DataError, match=r"model 0 and model 1 cannot be compared: .*20 of 120"):
        compared(fewer, resamples=20)
