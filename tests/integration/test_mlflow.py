"""A run on the cluster in a real MLflow store, and what is told before one starts."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from support.runs import tiny_settings
from support.tracking import epochs_in, runs_in

from ier_ray.cluster.trainer import TrainResult, run_training
from ier_ray.errors import SettingsError
from ier_ray.training.sections import TrackingSettings
from ier_ray.training.settings import TrainSettings
from ier_ray.training.tracking import tag


@pytest.fixture(scope="module")
def asked(shards: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    root = tmp_path_factory.mktemp("tracking")
    tracking = {"mlflow": f"sqlite:///{root}/mlflow.db", "experiment": "faces"}
    return tiny_settings(shards, root / "runs", name="shown", tracking=tracking)


@pytest.fixture(scope="module")
def result(asked: TrainSettings) -> TrainResult:
    return run_training(asked)


def assert_shows(tracking: TrackingSettings, run: Run, history: list[dict[str, Any]]) -> None:
    for name in history[0].keys() - {"epoch"}:
        assert epochs_in(tracking, run, name) == [(r["epoch"], r[name]) for r in history], name
    assert len(run.data.metrics) == len(history[0]) - 1


def test_a_run_and_what_resumes_it_are_one_mlflow_run(
    asked: TrainSettings, result: TrainResult
) -> None:
    (run,) = runs_in(asked.tracking)
    assert (run.info.run_name, run.info.status) == ("shown", "FINISHED")
    assert run.data.tags["ier_ray.run"] == result.run
    assert run.data.params["optimizer.learning_rate"] == "0.001"
    assert run.data.params["data.augment.flip"] == "0.0"
    assert run.data.params["scaling.num_workers"] == "2"
    assert len(result.history) == 2
    assert_shows(asked.tracking, run, result.history)
    totals = MlflowClient(asked.tracking.mlflow).get_metric_history(run.info.run_id, tag("total"))
    first, second = (metric.timestamp / 1000 for metric in totals)
    assert second - first >= result.history[1]["seconds"] - 0.01  # each as it ended

    schedule = asked.schedule.model_copy(update={"epochs": 3})
    resumed = run_training(asked.model_copy(update={"schedule": schedule}))
    (run,) = runs_in(asked.tracking)
    assert (len(resumed.history), run.info.status) == (3, "FINISHED")
    assert resumed.history[:2] == result.history
    assert_shows(asked.tracking, run, resumed.history)


def test_a_server_that_is_away_is_told_before_anything_starts(
    shards: dict[str, str], tmp_path: Path
) -> None:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{bound.getsockname()[1]}"
        settings = tiny_settings(shards, tmp_path, tracking={"mlflow": server})
        started = time.monotonic()
        with pytest.raises(
            SettingsError,
            match=rf"tracking\.mlflow {server} cannot be used .*refused.*start the server",
        ):
            run_training(settings)
    assert time.monotonic() - started < 30
    assert not any(tmp_path.iterdir())


def test_a_file_that_is_no_store_is_told(shards: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("not a database " * 100)
    for file, cause in (("letter", "not a database"), ("no/where", "unable to open")):
        tracking = {"mlflow": f"sqlite:///{tmp_path}/{file}"}
        with pytest.raises(SettingsError, match=rf"tracking\.mlflow sqlite.*{file}.*{cause}"):
            run_training(tiny_settings(shards, tmp_path / "runs", tracking=tracking))
    assert not (tmp_path / "runs").exists()


def test_a_deleted_experiment_is_told(shards: dict[str, str], tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("old"))
    tracking = {"mlflow": uri, "experiment": "old"}
    with pytest.raises(SettingsError, match=r"tracking\.experiment 'old' was deleted .* another"):
        run_training(tiny_settings(shards, tmp_path / "runs", tracking=tracking))


def test_a_missing_library_is_told_before_anything_starts(
    shards: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    tracking = {"mlflow": f"sqlite:///{tmp_path}/mlflow.db"}
    with pytest.raises(SettingsError, match=r"pip install 'ier_ray\[mlflow\]'"):
        run_training(tiny_settings(shards, tmp_path, tracking=tracking))
    assert not any(tmp_path.iterdir())
