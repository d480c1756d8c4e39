"""Runs in a real MLflow store: an SQLite file."""

from __future__ import annotations

import logging
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from support.runs import tiny_settings

from ier_ray.cluster.trainer import TrainResult, run_training
from ier_ray.config import parse_settings
from ier_ray.errors import SettingsError, TrainingError
from ier_ray.training.settings import TrackingSettings, TrainSettings
from ier_ray.training.tracking import end_run_of, log_epochs, open_run, tag, tracked

UNTRAINED = {"fer": "fer", "ier": "ier"}
RECORD = {"epoch": 1, "total": 0.5, "ier_accuracy": 0.25}


def settings_at(store: Path, **changes: Any) -> TrainSettings:
    """Settings of a run that is not trained, in a store below a directory."""
    tracking = {"mlflow": f"sqlite:///{store}/mlflow.db"}
    return tiny_settings(UNTRAINED, store, tracking=tracking, **changes)


def runs(tracking: TrackingSettings) -> list[Run]:
    """All runs of the experiment."""
    client = MlflowClient(tracking.mlflow)
    experiment = client.get_experiment_by_name(tracking.experiment)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def epochs(tracking: TrackingSettings, run: Run, name: str) -> list[tuple[int, float]]:
    """Every value that was ever logged of a figure."""
    logged = MlflowClient(tracking.mlflow).get_metric_history(run.info.run_id, tag(name))
    return [(metric.step, metric.value) for metric in logged]


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
        assert epochs(tracking, run, name) == [(r["epoch"], r[name]) for r in history], name
    assert len(run.data.metrics) == len(history[0]) - 1


def test_a_run_and_what_resumes_it_are_one_mlflow_run(
    asked: TrainSettings, result: TrainResult
) -> None:
    (run,) = runs(asked.tracking)
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
    (run,) = runs(asked.tracking)
    assert (len(resumed.history), run.info.status) == (3, "FINISHED")
    assert resumed.history[:2] == result.history
    assert_shows(asked.tracking, run, resumed.history)


def test_a_run_that_fails_says_so_and_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    with (
        pytest.raises(TrainingError, match="diverged"),
        tracked(settings, "o'neil/run", resumed=False) as first,
    ):
        raise TrainingError("diverged")
    assert [run.info.status for run in runs(settings.tracking)] == ["FAILED"]
    with tracked(settings, "o'neil/run", resumed=True) as again:
        assert [run.info.status for run in runs(settings.tracking)] == ["RUNNING"]
    assert again == first
    with tracked(settings, "other/run", resumed=True) as other:
        assert other != first


def test_a_run_that_was_removed_and_starts_anew_is_a_run_of_its_own(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    with tracked(settings, "run", resumed=False) as removed:
        pass
    with tracked(settings, "run", resumed=False) as anew:
        assert anew != removed
    with tracked(settings, "run", resumed=True) as newest:
        assert newest == anew


def test_an_epoch_is_logged_once_and_missed_ones_later(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    history = [{**RECORD, "epoch": epoch, "total": 1 / epoch} for epoch in (1, 2, 3)]
    with tracked(settings, "run", resumed=False) as run:
        log_epochs(settings.tracking, run, history[1:2])
        log_epochs(settings.tracking, run, history[1:2])
        log_epochs(settings.tracking, run, history)
    (found,) = runs(settings.tracking)
    assert sorted(epochs(settings.tracking, found, "total")) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_a_store_that_is_lost_costs_warnings_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_at(tmp_path / "store")
    (tmp_path / "store").mkdir()
    with (
        caplog.at_level(logging.WARNING, logger="ier_ray"),
        tracked(settings, "run", resumed=False) as run,
    ):
        shutil.rmtree(tmp_path / "store")
        log_epochs(settings.tracking, run, [RECORD])
    end_run_of(settings.tracking, "run", failed=False)
    epoch, end, by_location = (
        r.getMessage() for r in caplog.records if r.name.startswith("ier_ray")
    )
    assert epoch.startswith(f"epochs up to 1 are not all in MLflow at sqlite:///{tmp_path}/store")
    assert end.startswith("the run's end (FINISHED) is not in MLflow at sqlite:///")
    assert by_location.startswith("the end of run is not in MLflow: tracking.mlflow sqlite:///")


def test_a_run_whose_driver_was_stopped_is_ended_by_its_location(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    open_run(settings, "stopped", resumed=False)
    open_run(settings, "broken", resumed=False)
    end_run_of(settings.tracking, "stopped", failed=False)
    end_run_of(settings.tracking, "broken", failed=True)
    end_run_of(settings.tracking, "unknown", failed=False)
    found = {run.data.tags["ier_ray.run"]: run.info.status for run in runs(settings.tracking)}
    assert found == {"stopped": "FINISHED", "broken": "FAILED"}


def test_without_the_setting_there_is_no_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # cannot be imported
    settings = tiny_settings(UNTRAINED, tmp_path)
    with tracked(settings, "run", resumed=False) as run:
        log_epochs(settings.tracking, run, [RECORD])
    end_run_of(settings.tracking, "run", failed=False)
    assert run is None


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


@pytest.mark.parametrize(
    "uri", ["", "localhost:5000", "mlruns", "http://", "sqlite:///", "ftp://x"]
)
def test_what_is_no_server_and_no_file_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match=r"test: mlflow: must be .*http://HOST:5000.*got '"):
        parse_settings(TrackingSettings, {"mlflow": uri}, source="test")


def test_a_relative_file_is_the_same_for_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for uri, expected in (
        ("sqlite:///mlflow.db", f"sqlite:///{tmp_path}/mlflow.db"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("http://tracker:5000", "http://tracker:5000"),
        (None, None),
    ):
        assert TrackingSettings(mlflow=uri).located().mlflow == expected
