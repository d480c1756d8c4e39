"""A small sweep on a real cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
from mlflow import MlflowClient
from support.runs import ROOT, tiny_settings

from ier_ray.cluster.tuner import SweepResult, SweepSettings, concurrent_trials, run_sweep
from ier_ray.config import parse_settings, read_settings_file
from ier_ray.errors import SettingsError
from ier_ray.training.checkpoint import load_checkpoint
from ier_ray.training.sections import TrackingSettings


def sweep(shards: dict[str, str], directory: Path, trials: int = 2) -> SweepSettings:
    base = tiny_settings(
        shards,
        directory,
        scaling={"num_workers": 1, "cpus_per_worker": 1.0},
        tracking={"mlflow": f"sqlite:///{directory}/mlflow.db"},
    )
    return SweepSettings.model_validate(
        {
            "name": "small",
            "storage": str(directory),
            "search": {"trials": trials, "grace_epochs": 2},
            "train": base.model_dump(mode="json"),
        }
    )


@pytest.mark.timeout(600)
def test_a_sweep_exports_its_best_checkpoint(
    shards: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(shards["fer"]).parent)  # trials run elsewhere: paths must not depend
    settings = sweep({"fer": "fer", "ier": "ier"}, tmp_path)
    result = run_sweep(settings)
    assert_in_mlflow(result, settings.train.tracking)
    assert len(result.trials) == 2
    assert len({(trial.learning_rate, trial.balance) for trial in result.trials}) == 2
    for trial in result.trials:
        assert 8e-5 <= trial.learning_rate <= 8e-4
        assert 0 <= trial.balance <= 2
        assert trial.epochs == 2
        assert trial.error is None
    scores = [trial.score or 0.0 for trial in result.trials]
    assert result.best.score == result.best.metrics["ier_accuracy"] == max(scores)
    assert result.test["ier"].samples == 32
    assert result.test["ier"].seen == 0
    _, manifest = load_checkpoint(result.checkpoint)
    assert manifest.metrics["ier_accuracy"] == max(scores)

    again = run_sweep(settings)  # nothing is left to do
    assert again.trials == result.trials
    with pytest.raises(SettingsError, match="sweep 'small' exists with other settings"):
        run_sweep(sweep({"fer": "fer", "ier": "ier"}, tmp_path, trials=3))


def assert_in_mlflow(result: SweepResult, tracking: TrackingSettings) -> None:
    client = MlflowClient(tracking.mlflow)
    experiment = client.get_experiment_by_name(tracking.experiment)
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {trial.name for trial in result.trials}
    for trial in result.trials:
        run = runs[trial.name]
        assert run.info.status == "FINISHED"
        assert run.data.params["optimizer.learning_rate"] == str(trial.learning_rate)
        logged = client.get_metric_history(run.info.run_id, "validation/ier_accuracy")
        assert [metric.step for metric in logged] == [1, 2]
        assert max(metric.value for metric in logged) == trial.score


def test_concurrency_is_what_the_cluster_holds(shards: dict[str, str], tmp_path: Path) -> None:
    assert ray.cluster_resources()["CPU"] == 5
    one = tiny_settings(shards, tmp_path, scaling={"num_workers": 1, "cpus_per_worker": 1.0})
    two = tiny_settings(shards, tmp_path, scaling={"num_workers": 2, "cpus_per_worker": 1.0})
    # One CPU stays for reading, and each trial's driver holds a sliver: four would starve it.
    assert concurrent_trials(one) == 3
    assert concurrent_trials(two) == 1


def test_an_inverted_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"low \(2.0\) must not exceed high \(1.0\)"):
        SweepSettings.model_validate(
            {
                "train": {"data": {"fer": "a", "ier": "b"}},
                "search": {"balance": {"low": 2, "high": 1}},
            }
        )


def test_the_shipped_sweep_is_valid() -> None:
    values = read_settings_file(str(ROOT / "configs/demo_sweep.yaml"))
    parse_settings(SweepSettings, values, source="demo_sweep.yaml")
