"""Runs in a real MLflow store: an SQLite file."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from support.runs import tiny_settings
from support.tracking import epochs_in, runs_in

from ier_ray.config import parse_settings
from ier_ray.errors import SettingsError, TrainingError
from ier_ray.training.sections import TrackingSettings
from ier_ray.training.settings import TrainSettings
from ier_ray.training.tracking import end_run_of, log_epochs, open_run, tracked

UNTRAINED = {"fer": "fer", "ier": "ier"}
RECORD = {"epoch": 1, "total": 0.5, "ier_accuracy": 0.25}


def settings_at(store: Path, **changes: Any) -> TrainSettings:
    """Settings of a run that is not trained, in a store below a directory."""
    tracking = {"mlflow": f"sqlite:///{store}/mlflow.db"}
    return tiny_settings(UNTRAINED, store, tracking=tracking, **changes)


def test_a_run_that_fails_says_so_and_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    with (
        pytest.raises(TrainingError, match="diverged"),
        tracked(settings, "o'neil/run", resumed=False) as first,
    ):
        raise TrainingError("diverged")
    assert [run.info.status for run in runs_in(settings.tracking)] == ["FAILED"]
    with tracked(settings, "o'neil/run", resumed=True) as again:
        assert [run.info.status for run in runs_in(settings.tracking)] == ["RUNNING"]
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
    (found,) = runs_in(settings.tracking)
    assert sorted(epochs_in(settings.tracking, found, "total")) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


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
    found = {run.data.tags["ier_ray.run"]: run.info.status for run in runs_in(settings.tracking)}
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
