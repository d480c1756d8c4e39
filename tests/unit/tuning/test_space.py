"""The search space: what may be searched, with which values, and what is refused."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.runs import ROOT

from ier_ray.command_line import from_command_line
from ier_ray.config import parse_settings, read_settings_file
from ier_ray.errors import SettingsError
from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.settings import SweepSettings
from ier_ray.tuning.space import Choice, Interval, Range, Space


def base(**sections: Any) -> TrainSettings:
    return TrainSettings.model_validate({"data": {"fer": "a", "ier": "b"}, **sections})


def sweep(space: dict[str, Any], search: Any = (), **sections: Any) -> SweepSettings:
    values = {
        "search": {"space": space, **dict(search)},
        "train": {"data": {"fer": "a", "ier": "b"}, **sections},
    }
    return parse_settings(SweepSettings, values, source="sweep.yaml")


def test_values_get_the_type_of_their_setting() -> None:
    space = sweep(
        {
            "optimizer.batch_size": ["8", "16"],
            "optimizer.learning_rate": {"low": "1e-5", "high": "1e-3", "log": "true"},
            "schedule.warmup_epochs": {"low": "0", "high": "3"},
            "optimizer.clip_norm": [None, "1"],
            "optimizer.compile": ["false"],
        }
    ).space
    assert space.parameters == (
        Choice("optimizer.batch_size", (8, 16)),
        Range("optimizer.learning_rate", 1e-5, 1e-3, log=True),
        Range("schedule.warmup_epochs", 0, 3, log=False),
        Choice("optimizer.clip_norm", (None, 1.0)),
        Choice("optimizer.compile", (False,)),
    )
    rate, warmup = space.parameters[1], space.parameters[2]
    assert isinstance(rate, Range)
    assert isinstance(warmup, Range)
    assert [type(rate.low), type(warmup.low), type(warmup.high)] == [float, int, int]


def test_a_point_is_the_base_with_other_values() -> None:
    space = Space.of(
        {"loss.balance": Interval(low=0, high=2), "data.augment.flip": [0.0, 0.5]}, base()
    )
    assert space.base_point == {"loss.balance": 1.0, "data.augment.flip": 0.0}
    assert space.settings(space.base_point) == base()
    point = {"loss.balance": 0.3, "data.augment.flip": 0.5}
    assert space.settings(point) == base(
        loss={"balance": 0.3}, data={"fer": "a", "ier": "b", "augment": {"flip": 0.5}}
    )


def test_every_pair_of_ends_and_choices_is_tried() -> None:
    space = Space.of(
        {
            "loss.balance": Interval(low=0, high=2),
            "loss.discrepancy": ["same_image", "mmd", "coral"],
            "optimizer.beta1": Interval(low=0.8, high=0.95),
            "optimizer.batch_size": [16, 32],
        },
        base(),
    )
    names = list(space.base_point)
    corners = list(space.corners())
    for one, other in product(space.parameters, repeat=2):
        for value, another in product(one.ends, other.ends):
            if one != other:
                assert any(c[one.name] == value and c[other.name] == another for c in corners)
    assert all(list(corner) == names for corner in corners)
    assert len(list(space.variations())) == 1 + 2 + 2 + 2 + 1


@pytest.mark.parametrize(
    ("space", "sections", "message"),
    [
        ({"loss.balanse": [1]}, {}, "loss.balanse is not a setting .*; did you mean loss.balance?"),
        ({"loss": [1]}, {}, "loss is a section: name one of its settings"),
        ({"scaling.num_workers": [1]}, {}, "scaling.num_workers cannot be searched: all trials"),
        ({"data.test_fold": [0, 1]}, {}, "data.test_fold cannot be searched: trials that are val"),
        ({"seed": [0, 1]}, {}, "seed cannot be searched: trials of different seeds"),
        ({"loss.balance": {"low": 2, "high": 1}}, {}, r"loss.balance: low \(2\) must not exceed"),
        ({"loss.balance": {"low": 0, "high": 1, "log": True}}, {}, r"low \(0\) must be above 0"),
        ({"loss.balance": {"low": -1, "high": 2}}, {}, "loss.balance must be >= 0, got -1"),
        ({"loss.balance": {"lo": 0, "high": 2}}, {}, "loss.balance.low: Field required"),
        ({"loss.balance": 3}, {}, "loss.balance must be {low, high, log} or a list of values"),
        ({"loss.balance": []}, {}, r"loss.balance must be .* a list of values, got \[\]"),
        ({"loss.discrepancy": ["same_image", "mdm"]}, {}, "discrepancy must be .* got 'mdm'"),
        ({"loss.discrepancy": {"low": 0, "high": 1}}, {}, "loss.discrepancy must be"),
        ({"optimizer.compile": {"low": 0, "high": 1}}, {}, "optimizer.compile is no number"),
        ({"optimizer.batch_size": {"low": 8.5, "high": 16}}, {}, "optimizer.batch_size: .* 8.5"),
        ({"optimizer.batch_size": [16, 32, 16]}, {}, "optimizer.batch_size lists 16 twice"),
        ({"loss.balance": [0, 2]}, {}, "loss.balance is 1.0 in the base .* one of 0.0, 2.0"),
        ({"loss.balance": {"low": 1.5, "high": 2}}, {}, "loss.balance is 1.0 .* 1.5 to 2"),
        ({}, {}, "must map dotted names of settings"),
        # Settings that are possible alone and not together, two and three of them.
        (
            {
                "schedule.alignment": ["per_step", "per_epoch"],
                "loss.discrepancy": ["same_image", "mcd"],
            },
            {},
            "a trial of .*per_epoch.*mcd: schedule.alignment per_epoch minimizes",
        ),
        (
            {
                "loss.supervision": ["both", "fer"],
                "loss.balance": {"low": 0, "high": 2},
                "loss.discrepancy": ["same_image", "class_mean"],
            },
            {"schedule": {"criterion": "fer_accuracy"}},
            "loss.discrepancy class_mean reads IER labels",
        ),
        ({"loss.supervision": ["both", "fer"]}, {}, "ranked by fer_accuracy, .* ier_accuracy"),
        (
            {"loss.balance": [0.0, 1.0]},
            {"schedule": {"criterion": "last"}},
            "last gives all trials",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(
    space: dict[str, Any], sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        sweep(space, {"trials": 1}, **sections)
    assert str(refused.value).startswith("sweep.yaml: ")


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"trials": 7}, "search.trials is 7, but search.space has 6 points: lower it"),
        ({"trials": 5, "searcher": "grid"}, "grid of search.space has 6 points: set it to that"),
        ({"trials": 7, "searcher": "grid"}, "search.space has 6 points: lower it"),
        ({"trials": 6, "trials_per_gpu": 2}, "trials_per_gpu is 2, which needs .*use_gpu true"),
    ],
)
def test_trials_that_do_not_fit_are_refused(search: dict[str, Any], message: str) -> None:
    space = {"loss.balance": [0, 1, 2], "optimizer.batch_size": [16, 32]}
    with pytest.raises(SettingsError, match=message):
        sweep(space, search)
    assert sweep(space, {"trials": 6, "searcher": "grid"}).search.trials == 6


@pytest.mark.parametrize(
    ("data", "train", "message"),
    [
        (
            {"split": "inner"},
            {},
            r"search\.folds is 3, but train\.data\.split is inner: what ier_accuracy is measured "
            r"on would be the same in all of them\. Set train\.data\.split to folds, or "
            r"search\.folds to 1",
        ),
        (
            {"split": "own", "fer_split": "folds"},
            {},
            r"folds is 3, but train\.data\.split is own: ",
        ),
        (
            {"fer_split": "own"},
            {"schedule": {"criterion": "fer_accuracy"}},
            r"folds is 3, but train\.data\.fer_split is own: what fer_accuracy is measured on",
        ),
    ],
)
def test_folds_that_would_validate_on_the_same_images_are_refused(
    data: dict[str, Any], train: dict[str, Any], message: str
) -> None:
    sections = {"data": {"fer": "a", "ier": "b", **data}, **train}
    space = {"loss.balance": [0.0, 1.0]}
    with pytest.raises(SettingsError, match=message):
        sweep(space, {"trials": 1, "folds": 3}, **sections)
    assert sweep(space, {"trials": 1}, **sections).search.folds == 1


def test_rungs_are_in_folds_times_epochs() -> None:
    space, schedule = {"loss.balance": [0.0, 1.0]}, {"epochs": 10}
    rule = sweep(space, {"trials": 1, "folds": 3}, schedule=schedule).halving
    assert rule is not None
    assert rule.rungs == (5, 10, 20)
    own = {"fer": "a", "ier": "b", "fer_split": "own"}  # the images of FER validate nothing
    assert sweep(space, {"trials": 1, "folds": 3}, schedule=schedule, data=own).epochs == 30


def test_a_grid_takes_no_range() -> None:
    with pytest.raises(SettingsError, match=r"loss\.balance has a range; .* list them, or use"):
        sweep({"loss.balance": {"low": 0, "high": 2}}, {"searcher": "grid"})


def test_a_flag_gives_the_space_as_json() -> None:
    space = {"optimizer.batch_size": [16, 32], "loss.balance": {"low": 0.0, "high": 1.5}}
    flags = ["--train.data.fer=a", "--train.data.ier=b", f"--search.space={json.dumps(space)}"]
    settings = from_command_line(SweepSettings, flags, program="tune", purpose="x")
    assert settings.space == sweep(space).space
    with pytest.raises(SettingsError, match=r"search\.space: is neither a mapping nor JSON"):
        from_command_line(SweepSettings, ["--search.space=x"], program="tune", purpose="x")


def test_the_default_space_is_the_papers() -> None:
    settings = SweepSettings(train=base())
    rate, balance = settings.space.parameters
    assert rate == Range("optimizer.learning_rate", 8e-5, 8e-4, log=True)
    assert balance == Range("loss.balance", 0.0, 2.0, log=False)


@pytest.mark.parametrize(("file", "trials"), [("demo_sweep", 16), ("paper_sweep", 200)])
def test_the_shipped_sweeps_are_valid(
    file: str, trials: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(ROOT / f"configs/{file}.yaml")
    settings = parse_settings(SweepSettings, read_settings_file(path), source=path)
    assert settings.search.trials == trials
    assert settings.halving is not None
    assert settings.halving.rungs
