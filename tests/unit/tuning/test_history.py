"""Scores and times of a trial of several folds, worked by hand, and what is shown of them."""

from __future__ import annotations

from typing import Any

import pytest

from ier_ray.training.sections import ScheduleSettings
from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.history import best_epochs, curve, next_epoch, running_mean
from ier_ray.tuning.leaderboard import Row, ended_line
from ier_ray.tuning.page import render_page
from ier_ray.tuning.searchers import as_told
from ier_ray.tuning.selection_regret import Choice, choices
from ier_ray.tuning.space import Interval, Space
from ier_ray.tuning.study import as_trial
from ier_ray.tuning.trials import TrialRecord

FOLDS, SCHEDULE = 3, ScheduleSettings(epochs=4, warmup_epochs=0, patience=2)


def epoch(time: int, fold: int, score: float, entropy: float) -> dict[str, Any]:
    return {
        "epoch": time,
        "fold": fold,
        "score": score,
        "ier_accuracy": score,
        "ier_val_loss": 1 - score,
        "entropy": entropy,
    }


HISTORY = [
    epoch(1, 0, 0.75, -3.0),
    epoch(2, 0, 0.5, -1.0),
    epoch(3, 0, 0.25, -2.0),  # ended early: two epochs without a better score
    epoch(5, 1, 0.25, -1.0),
    epoch(6, 1, 0.5, -4.0),
    epoch(7, 1, 0.5, -3.0),
    epoch(8, 1, 0.125, -2.0),
    epoch(9, 2, 0.0, -5.0),
    epoch(10, 2, 1.0, -6.0),
]
"""Best scores 0.75, 0.5 (the later of two) and 1."""
SPACE = Space.of(
    {"loss.balance": Interval(low=0, high=2)},
    TrainSettings.model_validate({"data": {"fer": "a", "ier": "b"}}),
)
RECORD = TrialRecord(name="trial-0000", point=SPACE.base_point, state="stopped", history=HISTORY)
ALONE = RECORD.model_copy(
    update={"history": [{k: v for k, v in one.items() if k != "fold"} for one in HISTORY[:3]]}
)
"""The same epochs of the first fold, by a trial that has no other."""


def test_the_score_is_the_mean_of_the_best_in_each_fold_begun() -> None:
    means = [running_mean(HISTORY[:count]) for count in range(1, len(HISTORY) + 1)]
    first, second = [0.75] * 3, [(0.75 + 0.25) / 2] + [(0.75 + 0.5) / 2] * 3
    assert means == [*first, *second, (0.75 + 0.5 + 0) / 3, (0.75 + 0.5 + 1) / 3]
    assert [best["epoch"] for best in best_epochs(HISTORY)] == [1, 7, 10]
    assert (RECORD.score, RECORD.time) == (0.75, 10)
    assert TrialRecord(name="x", point={}).score is None
    assert TrialRecord(name="x", point={}).time == 0


def test_the_curve_of_a_later_fold_includes_the_folds_before() -> None:
    assert curve(HISTORY) == {
        1: 0.75,
        2: 0.5,
        3: 0.25,
        5: (0.75 + 0.25) / 2,
        6: (0.75 + 0.5) / 2,
        7: (0.75 + 0.5) / 2,
        8: (0.75 + 0.125) / 2,
        9: (0.75 + 0.5 + 0.0) / 3,
        10: (0.75 + 0.5 + 1.0) / 3,
    }
    assert max(list(curve(HISTORY[:7]).values())[3:]) == running_mean(HISTORY[:7])


def test_one_fold_is_its_epochs() -> None:
    assert curve(ALONE.history) == {1: 0.75, 2: 0.5, 3: 0.25}
    assert (ALONE.score, ALONE.time) == (0.75, 3)
    assert Row.of(ALONE).metrics == {"ier_accuracy": 0.75, "ier_val_loss": 0.25, "entropy": -3.0}


@pytest.mark.parametrize(
    ("trained", "following"),
    [
        (0, (0, 1)),
        (2, (0, 3)),
        (3, (1, 1)),  # the first fold ended after three of its four epochs
        (4, (1, 2)),
        (7, (2, 1)),
        (9, (2, 3)),
    ],
)
def test_the_next_epoch_is_the_first_of_the_next_fold_where_a_fold_has_ended(
    trained: int, following: tuple[int, int]
) -> None:
    assert next_epoch(HISTORY[:trained], SCHEDULE, FOLDS) == following


def test_after_its_last_fold_a_trial_begins_no_other() -> None:
    assert next_epoch(HISTORY[:7], SCHEDULE, 2) == (1, 5)
    assert next_epoch(ALONE.history, SCHEDULE, 1) == (0, 4)


def test_the_table_has_the_means_over_the_folds() -> None:
    row = Row.of(RECORD)
    assert (row.epochs, row.best_epoch, row.score) == (9, 1, 0.75)
    assert row.metrics == {
        "ier_accuracy": 0.75,
        "ier_val_loss": (0.25 + 0.5 + 0.0) / 3,
        "entropy": (-3.0 - 3.0 - 6.0) / 3,
    }
    assert ended_line(RECORD, [RECORD], 3).startswith(
        "trial-0000 stopped after 9 epochs, score 0.750; "
    )


def test_the_table_leaves_out_what_an_epoch_has_no_value_of() -> None:
    """Logits that are not finite have no entropy, which JSON keeps as null."""
    unknown = [one | {"entropy": None} if one["fold"] == 1 else one for one in HISTORY]
    row = Row.of(RECORD.model_copy(update={"history": unknown}))
    assert set(row.metrics) == {"ier_accuracy", "ier_val_loss"}
    alone = [one | {"entropy": None} for one in ALONE.history]
    assert "entropy" not in Row.of(ALONE.model_copy(update={"history": alone})).metrics


def test_optuna_is_told_running_means_in_folds_times_epochs() -> None:
    shown, told = as_trial(SPACE, RECORD), as_told(SPACE, RECORD)
    assert shown.value == 0.75
    assert shown.intermediate_values == curve(HISTORY)
    assert told.intermediate_values == {10: 0.75}


def test_a_criterion_chooses_an_epoch_of_each_fold() -> None:
    """Entropy has epochs 2, 5 and 9, whose accuracies are 0.5, 0.25 and 0."""
    assert choices([RECORD], "entropy") == [
        Choice("trial-0000", 2, (-1.0 - 1.0 - 5.0) / 3, (0.5 + 0.25 + 0.0) / 3)
    ]
    assert choices([RECORD], "ier_accuracy") == [Choice("trial-0000", 1, 0.75, 0.75)]


def test_the_page_says_what_means_are_over_folds() -> None:
    page, alone = (render_page(SPACE, [one], name="x") for one in (RECORD, ALONE))
    for text in ("means over the folds that a trial has begun", "Epochs are those of all folds"):
        assert text in page
        assert text not in alone
