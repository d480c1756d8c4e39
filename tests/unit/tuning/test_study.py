"""A sweep as an Optuna study: its file says what the trials' records say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ier_ray.errors import StorageError
from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.space import Choice, Interval, Point, Space
from ier_ray.tuning.study import as_value, write_study
from ier_ray.tuning.trials import State, TrialRecord, trial_name

BASE = TrainSettings.model_validate(
    {"data": {"fer": "a", "ier": "b"}, "schedule": {"warmup_epochs": 0}}
)
SPACE = Space.of(
    {
        "optimizer.learning_rate": Interval(low=1e-5, high=1e-1, log=True),
        "optimizer.batch_size": Interval(low=8, high=64),
        "optimizer.clip_norm": [None, 1.0],
        "schedule.warmup_epochs": Interval(low=0, high=0),
    },
    BASE,
)
EPOCH = {"epoch": 1, "score": 0.5}
POINT: Point = {
    "optimizer.learning_rate": 1e-3,
    "optimizer.batch_size": 16,
    "optimizer.clip_norm": None,
    "schedule.warmup_epochs": 0,
}


def record(index: int, state: State, *scores: float, **known: Any) -> TrialRecord:
    history = [{"epoch": i + 1, "score": s, "entropy": -s} for i, s in enumerate(scores)]
    return TrialRecord(name=trial_name(index), point=POINT, state=state, history=history, **known)


RECORDS = [
    record(0, "finished", 0.25, 0.75, 0.5),
    record(1, "stopped", 0.125),
    record(2, "failed", 0.9, error="diverged"),
    record(3, "unfinished", error="its node died"),
]


def loaded(location: Path) -> Any:
    return optuna.load_study(
        study_name="some sweep", storage=JournalStorage(JournalFileBackend(str(location)))
    )


def test_the_file_has_what_the_records_have(tmp_path: Path) -> None:
    write_study(f"{tmp_path}/study.journal", SPACE, RECORDS, name="some sweep")
    study = loaded(tmp_path / "study.journal")
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.user_attrs == {"criterion": "ier_accuracy"}
    assert study.best_trial.number == 0
    trials = study.trials
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert [trial.value for trial in trials] == [0.75, 0.125, None, None]
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.FAIL,
    ]
    assert [trial.intermediate_values for trial in trials] == [
        {1: 0.25, 2: 0.75, 3: 0.5},
        {1: 0.125},
        {1: 0.9},
        {},
    ]
    assert trials[0].user_attrs == {
        "trial": "trial-0000",
        "state": "finished",
        "best_epoch": 2,
        "entropy": -0.75,
    }
    assert trials[3].user_attrs == {
        "trial": "trial-0003",
        "state": "unfinished",
        "error": "its node died",
    }
    for trial in trials:
        assert trial.params == POINT
        assert trial.distributions == {
            "optimizer.learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
            "optimizer.batch_size": IntDistribution(8, 64),
            "optimizer.clip_norm": CategoricalDistribution([None, 1.0]),
            "schedule.warmup_epochs": IntDistribution(0, 0),
        }


def test_a_later_file_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    for count in (1, 3):
        write_study(f"{tmp_path}/study.journal", SPACE, RECORDS[:count], name="some sweep")
        assert len(loaded(tmp_path / "study.journal").trials) == count
    assert [path.name for path in tmp_path.iterdir()] == ["study.journal"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/study.journal: cannot be written"):
        write_study(f"{tmp_path}/file/study.journal", SPACE, RECORDS, name="some sweep")


def test_lists_are_drawn_as_texts(tmp_path: Path) -> None:
    lists = Choice("some.lists", ([0], [0, 1], None))
    point = {"some.lists": [0, 1]}
    trial = TrialRecord(name="trial-0000", point=point, state="finished", history=[EPOCH])
    write_study(f"{tmp_path}/study.journal", Space(BASE, (lists,)), [trial], name="some sweep")
    drawn = loaded(tmp_path / "study.journal").trials[0].params["some.lists"]
    assert drawn == "[0, 1]"
    assert as_value(lists, drawn) == [0, 1]
    assert as_value(lists, None) is None
