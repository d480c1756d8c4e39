from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from support.predictions import CLASSES, random_predictions

from ier_ray.errors import DataError
from ier_ray.evaluation.intervals import bootstrap_interval
from ier_ray.evaluation.metrics import accuracy, balanced_accuracy, measure
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.prior_shift import adjusted, uniform_prior
from ier_ray.evaluation.summary import evaluate_predictions, fold_table
from ier_ray.evaluation.tables import as_table

TARGET = {"happy": 0.1, "sad": 0.2, "hate": 0.3, "anger": 0.4}


def both_domains() -> Predictions:
    fer = random_predictions(
        40, seed=1, domains=np.full(40, "fer"), parts=np.full(40, "val"), seen=np.arange(40) < 3
    )
    return Predictions.concatenated([fer, random_predictions(60)])


def test_an_evaluation_is_of_its_domain_and_part() -> None:
    whole, ier = both_domains(), random_predictions(60)
    found = evaluate_predictions(whole, domain="ier", part="test", seed=4, resamples=50)
    expected = measure(ier.probabilities, ier.labels, CLASSES)
    assert {name: getattr(found, name) for name in vars(expected)} == vars(expected)
    assert (found.domain, found.part, found.datasets) == ("ier", "test", ("artphoto",))
    assert (found.samples, found.seen, found.adjusted) == (60, 0, None)
    for metric, interval in (
        (accuracy, found.accuracy_interval),
        (balanced_accuracy, found.balanced_accuracy_interval),
    ):
        arguments = (ier.probabilities, ier.labels, ier.groups)
        assert interval == bootstrap_interval(metric, *arguments, seed=4, resamples=50)
    fer = evaluate_predictions(whole, domain="fer", resamples=50)
    assert (fer.samples, fer.seen, fer.part) == (40, 3, "val")


def test_parts_that_differ_or_are_unknown_have_no_name() -> None:
    predictions = random_predictions(60)
    for parts in (np.array(["test", "val"] * 30), np.full(60, "")):
        found = evaluate_predictions(replace(predictions, parts=parts), domain="ier", resamples=9)
        assert found.part is None


def test_one_group_has_no_interval() -> None:
    found = evaluate_predictions(random_predictions(60, groups=np.full(60, "a")), domain="ier")
    assert found.accuracy_interval is None
    assert found.balanced_accuracy_interval is None


def test_figures_after_adjustment() -> None:
    predictions = random_predictions(60)
    trained = uniform_prior(CLASSES)
    found = evaluate_predictions(
        predictions, domain="ier", trained_prior=trained, target_prior=TARGET, resamples=9
    )
    changed = adjusted(predictions.probabilities, trained, TARGET)
    assert found.adjusted == measure(changed, predictions.labels, CLASSES)
    assert found.adjusted != measure(predictions.probabilities, predictions.labels, CLASSES)
    with pytest.raises(DataError, match="trained_prior is missing"):
        evaluate_predictions(predictions, domain="ier", target_prior=TARGET)


def test_an_evaluation_is_json() -> None:
    predictions = random_predictions(6, labels=np.zeros(6, dtype=np.int64))  # absent classes
    found = evaluate_predictions(
        predictions, domain="ier", trained_prior=TARGET, target_prior=TARGET, resamples=9
    )
    written = json.loads(json.dumps(asdict(found), allow_nan=False))
    assert written["accuracy"] == found.accuracy
    assert written["recall"]["anger"] is None
    assert written["adjusted"]["f1"] == found.f1
    assert written["accuracy_interval"]["level"] == 0.95


def test_no_such_predictions_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no prediction is of domain 'fer'$"):
        evaluate_predictions(random_predictions(), domain="fer")
    with pytest.raises(DataError, match=r"'ier' and part 'val'; there are \['test'\]"):
        evaluate_predictions(random_predictions(), domain="ier", part="val")


def test_folds_by_hand() -> None:
    # Fold 0: two of two right; fold 1: one of three; fold 2: one of one.
    right = np.array([True, True, True, False, False, True])
    labels = np.array([0, 1, 2, 0, 1, 3])
    probabilities = np.eye(4)[np.where(right, labels, (labels + 1) % 4)]
    folds = np.array([0, 0, 1, 1, 1, 2], dtype=np.int8)
    predictions = random_predictions(6, labels=labels, probabilities=probabilities, folds=folds)
    other = random_predictions(9, seed=5, parts=np.full(9, "val"))
    table = fold_table(Predictions.concatenated([other, predictions]), domain="ier", resamples=99)
    assert [row.fold for row in table.folds] == [0, 1, 2]
    assert [row.metrics.accuracy for row in table.folds] == [1, pytest.approx(1 / 3), 1]
    assert table.mean["accuracy"] == pytest.approx(7 / 9)
    assert table.std["accuracy"] == pytest.approx(np.sqrt(4 / 27))  # ((2/9)^2·2 + (4/9)^2) / 2
    assert table.pooled.accuracy == pytest.approx(4 / 6)
    assert table.pooled == evaluate_predictions(predictions, domain="ier", resamples=99)
    assert json.dumps(asdict(table), allow_nan=False)


def test_each_seed_is_a_row_of_its_own() -> None:
    first = random_predictions(60)
    second = random_predictions(60, seed=0, seeds=np.full(60, 7))
    table = fold_table(Predictions.concatenated([first, second]), domain="ier", resamples=9)
    assert [(row.fold, row.seed) for row in table.folds] == [
        (fold, seed) for fold in range(5) for seed in (0, 7)
    ]
    single = fold_table(replace(first, folds=np.zeros(60, dtype=np.int8)), domain="ier")
    assert set(single.std.values()) == {None}


def test_folds_that_cannot_be_told_apart_are_refused() -> None:
    predictions = random_predictions(60)
    folds = predictions.folds.copy()
    folds[:2] = -1
    with pytest.raises(DataError, match="has 60 test predictions, 2 of them without fold"):
        fold_table(replace(predictions, folds=folds), domain="ier")
    with pytest.raises(DataError, match="'fer' has 0 test predictions"):
        fold_table(predictions, domain="fer")
    with pytest.raises(DataError, match="60 test images were predicted again with the same seed"):
        fold_table(Predictions.concatenated([predictions, predictions]), domain="ier")


def test_a_table_for_people() -> None:
    whole = both_domains()
    evaluations = [
        evaluate_predictions(whole, domain="fer", resamples=99),
        evaluate_predictions(
            whole,
            domain="ier",
            trained_prior=uniform_prior(CLASSES),
            target_prior=TARGET,
            resamples=99,
        ),
    ]
    head, fer, ier, shifted, remark = as_table(evaluations).splitlines()
    titles = "domain data part images accuracy balanced accuracy macro F1 majority"
    assert " ".join(head.split()) == f"{titles} recall happy recall sad recall hate recall anger"
    assert fer.split()[:4] == ["fer", "artphoto", "val", "40*"]
    assert ier.split()[:4] == ["ier", "artphoto", "test", "60"]
    interval = evaluations[1].accuracy_interval
    assert interval is not None
    assert f"{evaluations[1].accuracy:.3f} [{interval.low:.3f}, {interval.high:.3f}]" in ier
    second = evaluations[1].adjusted
    assert second is not None
    assert f"{second.accuracy:.3f}" in shifted
    assert ier.index(f"{evaluations[1].accuracy:.3f} [") == shifted.index(f"{second.accuracy:.3f}")
    assert remark.startswith("* 3 of the 40 fer images trained or selected the checkpoint")


def test_a_table_of_other_classes_is_refused() -> None:
    first = evaluate_predictions(random_predictions(), domain="ier", resamples=9)
    other = replace(first, classes=("a", "b", "c", "d"))
    for evaluations in ([], [first, other]):
        with pytest.raises(DataError, match="of the same classes"):
            as_table(evaluations)
