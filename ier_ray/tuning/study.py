"""A sweep as an Optuna study: what its samplers draw from, its plots show and its dashboard opens.

The study is derived from the trials' records and never read back: the records are the sweep.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ier_ray import storage
from ier_ray.tuning.history import curve
from ier_ray.tuning.leaderboard import Row
from ier_ray.tuning.space import Parameter, Range, Space, plain
from ier_ray.tuning.trials import State, TrialRecord

STATES: dict[State, TrialState] = {
    "finished": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "unfinished": TrialState.FAIL,  # lost more often than the sweep allows
}


def empty_study(**options: Any) -> Any:
    """A new study whose values are scores: higher is better, whatever the criterion."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would log each study it makes
    return optuna.create_study(direction="maximize", **options)


def study_of(space: Space, records: Iterable[TrialRecord], *, name: str, **options: Any) -> Any:
    """The trials of a sweep, numbered as they were proposed.

    A trial's value is its best epoch's score, its intermediate values are the scores of all epochs.
    User attributes hold the metrics of the best epoch. Of a trial of several folds they are running
    means (:func:`ier_ray.tuning.history.curve`).

    Args:
        name: of the study.
        options: of ``optuna.create_study``, such as its storage; by default it is in memory.
    """
    study = empty_study(study_name=name, **options)
    study.set_user_attr("criterion", space.base.criterion)
    study.add_trials([as_trial(space, record) for record in records])
    return study


def write_study(location: str, space: Space, records: Iterable[TrialRecord], *, name: str) -> None:
    """Write the study as a journal of Optuna's, completely or not at all.

    Its SQLite files are as good to read, but take a hundred times as long to write.

    Raises:
        StorageError: when it cannot be written.
    """
    with TemporaryDirectory(prefix="ier_ray-study-") as directory:
        file = Path(directory) / "journal"
        journal = JournalStorage(JournalFileBackend(str(file)))
        study_of(space, records, name=name, storage=journal)
        with storage.writing(location) as stream:
            stream.writelines(storage.read_pieces(str(file)))


def as_trial(space: Space, record: TrialRecord) -> Any:
    """A trial as Optuna has it once the sweep has ended."""
    row = Row.of(record)
    attributes = {
        "trial": row.name,
        "state": row.state,
        "best_epoch": row.best_epoch,
        **row.metrics,
        "error": row.error,
    }
    return optuna.create_trial(
        **point_drawn(space, record),
        state=STATES[record.state],
        value=record.score if record.ranked else None,
        intermediate_values=curve(record.history),
        user_attrs={name: value for name, value in attributes.items() if value is not None},
    )


def point_drawn(space: Space, record: TrialRecord) -> dict[str, Any]:
    """A trial's point, as arguments of ``optuna.create_trial``."""
    return {
        "params": {one.name: plain(record.point[one.name]) for one in space.parameters},
        "distributions": distributions(space),
    }


def distributions(space: Space) -> dict[str, Any]:
    """Optuna's distribution of each searched setting."""
    return {one.name: distribution(one) for one in space.parameters}


def distribution(one: Parameter) -> Any:
    """Optuna's distribution of a setting; choices that are lists are drawn as texts."""
    if not isinstance(one, Range):
        return optuna.distributions.CategoricalDistribution([plain(value) for value in one.ends])
    if isinstance(one.low, int):
        return optuna.distributions.IntDistribution(one.low, int(one.high), log=one.log)
    return optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)


def as_value(one: Parameter, drawn: Any) -> Any:
    """The setting's value for what Optuna drew."""
    if isinstance(one, Range):
        return drawn
    return next(value for value in one.ends if plain(value) == drawn)
