"""What choosing without labels costs: against values computed by hand."""

from __future__ import annotations

import math

import pytest

from ier_ray.training.selection import LABEL_FREE
from ier_ray.tuning.selection_regret import Choice, choices, oracle, selection_regrets
from ier_ray.tuning.trials import State, TrialRecord

Epoch = tuple[float | None, float | None]
"""IER accuracy and entropy criterion."""


def trial(name: str, *epochs: Epoch, state: State = "finished") -> TrialRecord:
    history = [
        {"epoch": number, "score": 0.0, "ier_accuracy": accuracy, "entropy": entropy}
        for number, (accuracy, entropy) in enumerate(epochs, start=1)
    ]
    return TrialRecord(name=name, point={}, state=state, history=history)


SWEEP = [
    trial("a", (0.5, -0.9), (0.8, -0.5), (0.7, -0.4)),  # the criterion chooses epoch 3
    trial("b", (0.4, -0.2), (0.9, -0.3), state="stopped"),  # epoch 1; the oracle chooses epoch 2
    trial("c", (0.6, -0.6)),
    trial("d", (1.0, 0.0), state="failed"),  # has no weights to be chosen
    trial("e", state="unfinished"),
]


def test_regret_of_a_criterion_by_hand() -> None:
    assert oracle(SWEEP) == Choice("b", 2, 0.9, 0.9)
    (found,) = selection_regrets(SWEEP)
    assert found.criterion == "entropy"
    assert found.choice == Choice("b", 1, -0.2, 0.4)
    assert found.regret == pytest.approx(0.5)
    # Values -0.4, -0.2, -0.6 have ranks 2, 3, 1 and accuracies 0.7, 0.4, 0.6 ranks 3, 1, 2:
    # 1 - 6 (1 + 4 + 1) / (3 * 8) = -0.5
    assert found.rank_correlation == pytest.approx(-0.5)
    assert found.trials == 3


def test_every_label_free_criterion_has_a_row_and_prefers_high_values() -> None:
    low, high = 0.1, 0.2
    records = [
        TrialRecord(
            name=name,
            point={},
            state="finished",
            history=[
                {"epoch": 1, "score": 0, "ier_accuracy": accuracy}
                | dict.fromkeys(LABEL_FREE, value)
            ],
        )
        for name, accuracy, value in (("a", 0.3, low), ("b", 0.7, high))
    ]
    found = selection_regrets(records)
    assert [one.criterion for one in found] == list(LABEL_FREE)
    assert {one.choice.trial for one in found} == {"b"}
    assert {one.regret for one in found} == {0.0}
    assert [one.rank_correlation for one in found] == pytest.approx([1.0] * len(LABEL_FREE))


def test_of_equals_the_latest_epoch_and_the_first_trial_are_chosen() -> None:
    records = [trial("b", (0.1, -0.5)), trial("a", (0.2, -0.5), (0.3, -0.5))]
    assert choices(records, "entropy")[1].epoch == 2
    (found,) = selection_regrets(records)
    assert (found.choice.trial, found.choice.epoch) == ("a", 2)
    assert found.rank_correlation is None  # all values are equal


def test_epochs_without_a_value_are_passed_over() -> None:
    records = [
        trial("a", (0.5, None), (0.6, -0.8), (0.9, math.nan), (None, 0.0)),
        trial("b", (0.7, None)),
    ]
    assert oracle(records) == Choice("a", 3, 0.9, 0.9)
    (found,) = selection_regrets(records)
    assert found.choice == Choice("a", 2, -0.8, 0.6)
    assert found.regret == pytest.approx(0.3)
    assert (found.trials, found.rank_correlation) == (1, None)


def test_a_trial_needs_a_value_in_each_of_its_folds() -> None:
    whole, part = trial("a", (0.5, -0.4), (0.7, -0.8)), trial("b", (0.9, -0.1), (0.8, None))
    for record in (whole, part):
        for fold, epoch in enumerate(record.history):
            epoch["fold"] = fold
    (found,) = choices([whole, part], "entropy")
    assert (found.trial, found.epoch) == ("a", 1)
    assert found.value == pytest.approx(-0.6)
    assert found.accuracy == pytest.approx(0.6)


def test_there_is_no_oracle_without_accuracies() -> None:
    assert oracle([trial("a", (None, -0.5))]) is None
    assert selection_regrets([trial("a", (None, -0.5))]) == []
    assert selection_regrets([]) == []
