"""What choosing without labels costs: label-free criteria against the oracle, after a sweep.

A criterion chooses an epoch of each trial, and of these the trial: where its value is highest, as
all criteria of :mod:`ier_ray.training.selection` are defined so that higher is better. The oracle
chooses by the accuracy on IER validation labels itself. Only trials that ended well can be chosen.
Of a trial of several folds, an epoch of each is chosen: value and accuracy are the means of these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from ier_ray.training.selection import LABEL_FREE
from ier_ray.tuning.history import by_fold
from ier_ray.tuning.trials import TrialRecord

ACCURACY = "ier_accuracy"


@dataclass(frozen=True)
class Choice:
    """An epoch that a criterion chose."""

    trial: str
    epoch: int
    """Of the first fold."""
    value: float
    """Of the criterion."""
    accuracy: float
    """On the IER validation part, from 0 to 1."""


@dataclass(frozen=True)
class SelectionRegret:
    """What a criterion chose, and what it missed."""

    criterion: str
    choice: Choice
    regret: float
    """The oracle's accuracy minus that of the choice, from 0 to 1."""
    rank_correlation: float | None
    """Spearman's, between value and accuracy over the trials, each in the epoch that the criterion
    chooses of it. None if there is one trial, or all have the same value or accuracy."""
    trials: int
    """Trials that have values of the criterion."""


def oracle(records: Sequence[TrialRecord]) -> Choice | None:
    """The most accurate epoch of all trials; None if no epoch has an accuracy."""
    return best(choices(records, ACCURACY))


def selection_regrets(records: Sequence[TrialRecord]) -> list[SelectionRegret]:
    """The regret of each label-free criterion that any epoch has a value of."""
    reference = oracle(records)
    found = []
    for criterion in LABEL_FREE:
        chosen = choices(records, criterion)
        choice = best(chosen)
        if reference is None or choice is None:
            continue
        found.append(
            SelectionRegret(
                criterion=criterion,
                choice=choice,
                regret=reference.accuracy - choice.accuracy,
                rank_correlation=rank_correlation(chosen),
                trials=len(chosen),
            )
        )
    return found


def choices(records: Sequence[TrialRecord], criterion: str) -> list[Choice]:
    """The epoch that a criterion chooses of each trial that ended well; of equals, the latest.

    Epochs that lack the criterion's value or the accuracy are passed over, and so are trials with a
    fold that has no others.
    """
    found = []
    for record in records:
        usable = [
            epoch
            for epoch in record.history
            if is_finite(epoch.get(criterion)) and is_finite(epoch.get(ACCURACY))
        ]
        folds = by_fold(usable)
        if record.ranked and folds and len(folds) == len(by_fold(record.history)):
            chosen = [
                max(fold, key=lambda epoch: (epoch[criterion], epoch["epoch"])) for fold in folds
            ]
            value, accuracy = (
                fmean(epoch[name] for epoch in chosen) for name in (criterion, ACCURACY)
            )
            found.append(Choice(record.name, chosen[0]["epoch"], value, accuracy))
    return found


def best(chosen: Sequence[Choice]) -> Choice | None:
    """The choice with the highest value; of equals, that of the first trial."""
    return min(chosen, key=lambda choice: (-choice.value, choice.trial), default=None)


def rank_correlation(chosen: Sequence[Choice]) -> float | None:
    """Spearman's rank correlation of value and accuracy; None where it is not defined."""
    values = np.array([[choice.value, choice.accuracy] for choice in chosen])
    if len(chosen) < 2 or bool((values == values[0]).all(axis=0).any()):
        return None
    return float(spearmanr(values).statistic)


def is_finite(value: Any) -> bool:
    """Whether an epoch has a usable value: neither absent nor NaN."""
    return value is not None and math.isfinite(value)
