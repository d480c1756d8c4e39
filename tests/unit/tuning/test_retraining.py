"""Training with the best setting of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sweeps import sweep

from ier_ray import storage
from ier_ray.command_line import from_command_line
from ier_ray.errors import SettingsError
from ier_ray.tuning.retraining import TrainJobSettings
from ier_ray.tuning.trials import State, TrialRecord, TrialStore


def job(*flags: str) -> TrainJobSettings:
    return from_command_line(TrainJobSettings, flags, program="train", purpose="x")


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    settings = sweep({"fer": "a", "ier": "b"}, tmp_path)
    storage.write_json(f"{tmp_path}/small/settings.json", settings.model_dump(mode="json"))
    return TrialStore(f"{tmp_path}/small")


def add(store: TrialStore, name: str, balance: float, score: float, state: State) -> None:
    point = {"loss.balance": balance, "optimizer.batch_size": 16}
    history = [{"epoch": 1, "score": score}]
    store.write(TrialRecord(name=name, point=point, state=state, history=history))


def test_the_best_trials_setting_is_below_the_files_and_the_flags(
    store: TrialStore, tmp_path: Path
) -> None:
    add(store, "trial-0000", 0.25, 0.5, "finished")
    add(store, "trial-0001", 0.5, 0.75, "stopped")
    add(store, "trial-0002", 0.75, 0.9, "failed")
    config = tmp_path / "more.yaml"
    config.write_text("loss: {regularization: 0.001}\nschedule: {epochs: 50}\n")
    asked = job(
        f"--from-sweep={store.location}", f"--config={config}", "--schedule.epochs=60"
    ).run()
    assert (asked.loss.balance, asked.optimizer.batch_size) == (0.5, 16)  # the best trial's
    assert (asked.optimizer.learning_rate, asked.data.fer) == (1e-3, "a")  # the sweep's base
    assert (asked.loss.regularization, asked.schedule.epochs) == (1e-3, 60)
    assert (asked.name, asked.storage) == ("train", "runs")
    assert job(f"--from-sweep={store.location}", "--loss.balance=0").run().loss.balance == 0


def test_without_a_sweep_nothing_changes() -> None:
    asked = job("--data.fer=a", "--data.ier=b")
    assert asked.run().model_dump() == asked.model_dump(exclude={"from_sweep"})


def test_what_is_no_sweep_is_refused(store: TrialStore, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"from_sweep: .* has no trial that has ended well"):
        job(f"--from-sweep={store.location}")
    with pytest.raises(SettingsError, match=r"nowhere is no sweep \(settings.json is missing\)"):
        job(f"--from-sweep={tmp_path}/nowhere")
    storage.write_json(f"{tmp_path}/run/settings.json", {"name": "run"})
    with pytest.raises(SettingsError, match=r"settings.json is not of a sweep: train: Field req"):
        job(f"--from-sweep={tmp_path}/run")
