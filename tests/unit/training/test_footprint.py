"""The bytes that are predicted before a run are those that it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import SAMPLES, local_streams, run, tiny_settings

from ier_ray.emotions import FOUR
from ier_ray.training.context import LocalContext
from ier_ray.training.footprint import (
    EPOCH,
    CheckpointSize,
    Footprint,
    checkpoint_size,
    gib,
    run_footprint,
    runs_footprint,
    sweep_footprint,
    trial_footprint,
)
from ier_ray.training.loop import train
from ier_ray.training.tracking import write_scalars

OPTIMIZER = {"learning_rate": 1e-3, "batch_size": 16}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "average": {"optimizer": {**OPTIMIZER, "ema": 0.9}},
    "frozen trunk": {"optimizer": {**OPTIMIZER, "trunk_factor": 0.0}},
    "frozen layers": {"optimizer": {**OPTIMIZER, "frozen_layers": 10}},
    "discriminator": {"loss": {"discrepancy": "dann"}},
    "one network": {"loss": {"balance": 0.0}},
    "wide": {"model__width": 0.1},
}


@pytest.mark.parametrize("case", CASES)
def test_checkpoints_have_the_predicted_size(
    shards: dict[str, str], tmp_path: Path, case: str
) -> None:
    alone = case == "one network"
    data = {"ier": shards["ier"]} if alone else shards
    schedule = {"epochs": 1, "warmup_epochs": 0, "networks": "ier" if alone else "both"}
    settings = tiny_settings(data, tmp_path, schedule=schedule, **CASES[case])
    streams = local_streams(shards, batch_size=16)
    torch.set_num_threads(1)
    train(settings, replace(streams, fer=None) if alone else streams, FOUR, LocalContext(tmp_path))
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "last").iterdir()}
    found = checkpoint_size(settings, num_classes=4, rows=SAMPLES * len(settings.domains))
    state = sizes.pop("trainer_state.pt")
    assert found.trainer_state == pytest.approx(state, rel=0.05)
    assert found.served == pytest.approx(sum(sizes.values()), rel=0.05)


def test_an_epochs_tensorboard_file_has_the_predicted_size(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(shards, tmp_path)
    (first, *_) = run(settings, shards, tmp_path)
    write_scalars(f"{tmp_path}/tensorboard", first)
    (file,) = (tmp_path / "tensorboard").iterdir()
    nothing = CheckpointSize(0, 0)
    assert trial_footprint(settings, nothing).kept / 2 == pytest.approx(
        file.stat().st_size, rel=0.2
    )


SIZE = CheckpointSize(served=100, trainer_state=200)


@pytest.mark.parametrize(
    ("epochs", "criterion", "copies", "passing"),
    [
        (1, "ier_accuracy", 1, 0),
        (2, "ier_accuracy", 2, 0),
        (3, "ier_accuracy", 2, 300),  # the third is complete before another is deleted
        (3, "last", 1, 300),  # the best is the last
    ],
)
def test_the_best_and_the_last_checkpoint_are_kept(
    tmp_path: Path, epochs: int, criterion: str, copies: int, passing: int
) -> None:
    schedule = {"epochs": epochs, "warmup_epochs": 0, "criterion": criterion}
    settings = tiny_settings({"fer": "f", "ier": "i"}, tmp_path, schedule=schedule)
    trial = trial_footprint(settings, SIZE)
    logs = epochs * EPOCH
    assert (trial.kept, trial.passing) == (copies * 300 + logs, passing)
    run = run_footprint(settings, SIZE, rows=0)
    assert run.kept == trial.kept + 100
    assert run.peak == max(run.kept, trial.peak)


def test_only_runs_that_train_hold_a_passing_checkpoint() -> None:
    one = Footprint(kept=10, passing=3, what="2 checkpoints", checkpoint=3)
    many = runs_footprint(one, 20, at_once=4, what="trials")
    assert (many.kept, many.passing, many.peak) == (200, 12, 212)
    assert (many.what, many.checkpoint) == ("20 trials, each with 2 checkpoints", 3)
    assert runs_footprint(one, 2, at_once=4, what="trials").peak == 26


@pytest.mark.parametrize(("workers", "copies", "folds"), [(1, 2, 1), (2, 3, 1), (1, 2, 3)])
def test_a_sweep_keeps_the_best_weights_and_the_state_of_trials_that_train(
    tmp_path: Path, workers: int, copies: int, folds: int
) -> None:
    settings = tiny_settings(
        {"fer": "f", "ier": "i"},
        tmp_path,
        schedule={"epochs": 5, "warmup_epochs": 0},
        scaling={"num_workers": workers},
    )
    found = sweep_footprint(settings, SIZE, trials=200, folds=folds, keep=3, at_once=4)
    assert found.kept == 3 * 100 + 200 * folds * 5 * EPOCH
    assert found.passing == 4 * (copies * 300 + 100)  # one fold trains, the first left its weights
    few = sweep_footprint(settings, SIZE, trials=2, folds=folds, keep=3, at_once=4)
    assert (few.kept, few.passing) == (200 + 2 * folds * 5 * EPOCH, 2 * (copies * 300 + 100))


def test_sizes_are_readable() -> None:
    assert [gib(bytes_) for bytes_ in (0, 2**20, 3.5 * 2**30, 1234.56 * 2**30)] == [
        "0 GiB",
        "0.000977 GiB",
        "3.5 GiB",
        "1234.6 GiB",
    ]
