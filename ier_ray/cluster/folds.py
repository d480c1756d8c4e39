"""The folds of a cross-validation, which tests on each, and of a trial, which validates on some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.shards import ShardSet
from ier_ray.errors import SettingsError
from ier_ray.training.settings import TrainSettings


def number_of_folds(settings: TrainSettings, domains: Sequence[Domain], *, use: str) -> int:
    """Number of folds, the same in all of some domains.

    Args:
        use: what needs that, for the message.

    Raises:
        SettingsError: when two domains have different numbers of folds.
    """
    folds = {
        domain: ShardSet.open(settings.data.location(domain)).manifest.folds for domain in domains
    }
    if len(set(folds.values())) > 1:
        raise SettingsError(
            f"data.fer has {folds['fer']} folds, data.ier has {folds['ier']}; {use} on the same "
            f"fold of both: ingest one of them again with the other's --folds"
        )
    return folds[domains[0]]


def fold_settings(
    settings: TrainSettings, location: str, fold: int, **changes: Any
) -> TrainSettings:
    """The settings of a fold's run below a location, with changes of ``data``."""
    data = settings.data.model_copy(update=changes)
    update = {"name": f"fold-{fold}", "storage": location, "data": data}
    return settings.model_copy(update=update)


def trial_runs(trial: TrainSettings, count: int) -> list[TrainSettings]:
    """The settings of a trial's runs, one for each of ``count`` validation folds.

    A trial of one fold is its only run. Other trials have runs below their directory.

    Raises:
        SettingsError: when the data have too few folds, or the domains different numbers.
    """
    if count == 1:
        return [trial]
    location = storage.join(trial.storage, trial.name)
    return [
        fold_settings(trial, location, number, val_fold=fold)
        for number, fold in enumerate(validation_folds(trial, count))
    ]


def validation_folds(settings: TrainSettings, count: int) -> list[int]:
    """The first ``count`` folds without the test fold, cyclically from the validation fold.

    Raises:
        SettingsError: when there are fewer, or the domains have different numbers of folds.
    """
    plans = {domain: settings.split_plan(domain) for domain in settings.domains}
    divided = [domain for domain, plan in plans.items() if plan.rule == "folds"]
    folds = number_of_folds(settings, divided, use=f"search.folds {count} validates")
    if count >= folds:
        raise SettingsError(
            f"search.folds is {count}, but {' and '.join(f'data.{one}' for one in divided)} "
            f"divided into {folds} folds leave {folds - 1} beside the test fold: lower it, or "
            f"ingest again with more --folds"
        )
    plan = plans[divided[0]]
    first = plan.validation_fold(folds)
    cycle = [(first + step) % folds for step in range(folds)]
    return [fold for fold in cycle if fold != plan.test_fold][:count]
