from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.predictions import CLASSES, random_predictions, random_probabilities

from ier_ray.errors import DataError
from ier_ray.evaluation.intervals import Interval, bootstrap_interval, paired_difference
from ier_ray.evaluation.matching import matched
from ier_ray.evaluation.metrics import accuracy, balanced_accuracy, log_loss, macro_f1
from ier_ray.evaluation.predictions import Predictions


def singles(rows: int) -> NDArray[np.str_]:
    return np.arange(rows).astype(str)


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_a_constant_metric_has_an_interval_of_no_width() -> None:
    probabilities, labels = random_probabilities(50, seed=0)
    found = bootstrap_interval(
        lambda p, y: 0.25, probabilities, labels, singles(50), seed=0, resamples=20
    )
    assert found == Interval(0.25, 0.25, 0.25, 0.95)
    right = np.eye(4)[labels]
    found = bootstrap_interval(accuracy, right, labels, singles(50), seed=0)
    assert (found.low, found.high) == (1.0, 1.0)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_single_images_come_close_to_the_normal_approximation(level: float) -> None:
    probabilities, labels = random_probabilities(2000, seed=1)
    share = accuracy(probabilities, labels)
    found = bootstrap_interval(
        accuracy, probabilities, labels, singles(2000), seed=3, resamples=8000, level=level
    )
    margin = {0.8: 1.281552, 0.95: 1.959964}[level] * np.sqrt(share * (1 - share) / 2000)
    assert found.estimate == share
    assert found.level == level
    assert [found.low, found.high] == pytest.approx([share - margin, share + margin], abs=1.5e-3)


def test_copies_in_a_group_widen_the_interval_by_the_root_of_their_number() -> None:
    probabilities, labels = random_probabilities(500, seed=1)
    once = bootstrap_interval(accuracy, probabilities, labels, singles(500), seed=0)
    copied = np.repeat(probabilities, 4, axis=0), np.repeat(labels, 4)
    grouped = bootstrap_interval(accuracy, *copied, np.repeat(singles(500), 4), seed=0)
    assert vars(grouped) == pytest.approx(vars(once), abs=1e-12)  # a copy brings no information
    ignored = bootstrap_interval(accuracy, *copied, singles(2000), seed=0)
    assert width(grouped) / width(ignored) == pytest.approx(2, rel=0.08)


@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy, macro_f1])
def test_many_matrices_at_once_equal_one_resample_at_a_time(metric: Any) -> None:
    probabilities, labels = random_probabilities(120, seed=2)
    groups = (np.arange(120) % 17).astype(str)
    fast = bootstrap_interval(metric, probabilities, labels, groups, seed=5, resamples=300)
    slow = bootstrap_interval(metric.__call__, probabilities, labels, groups, seed=5, resamples=300)
    assert vars(fast) == pytest.approx(vars(slow), abs=1e-12)
    assert width(fast) > 0.02


@pytest.mark.parametrize("metric", [balanced_accuracy, log_loss])
def test_permuting_rows_changes_nothing_and_the_seed_does(metric: Any) -> None:
    probabilities, labels = random_probabilities(90, seed=2)
    groups = (np.arange(90) % 11).astype(str)
    order = np.random.default_rng(1).permutation(90)
    options = {"seed": 5, "resamples": 200}
    first = bootstrap_interval(metric, probabilities, labels, groups, **options)
    second = bootstrap_interval(
        metric, probabilities[order], labels[order], groups[order], **options
    )
    assert vars(second) == pytest.approx(vars(first), abs=1e-12)
    other = bootstrap_interval(metric, probabilities, labels, groups, seed=6, resamples=200)
    assert (other.low, other.high) != (first.low, first.high)


def test_one_group_has_no_interval() -> None:
    probabilities, labels = random_probabilities(5, seed=2)
    with pytest.raises(DataError, match="needs two groups or more, but all 5 images are of 1"):
        bootstrap_interval(accuracy, probabilities, labels, np.array(["a"] * 5), seed=0)


def test_a_model_does_not_differ_from_itself_in_another_order() -> None:
    first = random_predictions(100)
    order = np.random.default_rng(1).permutation(100)
    found = paired_difference(log_loss, first, first.select(order), seed=0, resamples=50)
    assert [found.estimate, found.low, found.high] == pytest.approx([0, 0, 0], abs=1e-12)


def test_pairing_removes_what_both_models_share() -> None:
    first = random_predictions(600, groups=singles(600))
    labels = first.labels
    right = first.probabilities.argmax(1) == labels
    corrected = first.probabilities.copy()
    lifted = np.flatnonzero(~right)[:30]
    corrected[lifted] = np.eye(4)[labels[lifted]]
    second = replace(first, probabilities=corrected)
    found = paired_difference(accuracy, second, first, seed=0, resamples=4000)
    # The difference is 1 in 30 of 600 images, else 0: a binomial share.
    margin = 1.959964 * np.sqrt(0.05 * 0.95 / 600)
    assert found.estimate == pytest.approx(0.05, abs=1e-12)
    assert [found.low, found.high] == pytest.approx([0.05 - margin, 0.05 + margin], abs=3e-3)
    alone = bootstrap_interval(accuracy, first.probabilities, labels, first.groups, seed=0)
    assert width(found) < 0.6 * width(alone)


def test_matching_is_by_image_and_fold() -> None:
    first = random_predictions(40)
    one, other = matched(first, first.select(np.arange(40)[::-1]))
    np.testing.assert_array_equal(one.sample_ids, other.sample_ids)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


def changed(predictions: Predictions, **columns: Any) -> Predictions:
    return replace(predictions, **columns)


def test_other_images_are_refused() -> None:
    first = random_predictions(40)
    for second, message in (
        (first.select(np.arange(39)), r"1 of 40 \(sample id, fold\).*'image-0039'"),
        (changed(first, folds=first.folds + np.int8(1)), r"80 of 80 \(sample id, fold\)"),
        (changed(first, classes=tuple(reversed(CLASSES))), r"different classes"),
        (changed(first, labels=(first.labels + 1) % 4), r"labels differ in 40 of 40 images"),
        (changed(first, groups=singles(40)), r"groups differ in 40 of 40 images"),
        (Predictions.concatenated([first, first]), r"the second predictions hold 40 rows more"),
    ):
        with pytest.raises(DataError, match=message):
            paired_difference(accuracy, first, second, seed=0)
