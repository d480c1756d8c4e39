"""What an MLflow store holds of an experiment."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Run

from ier_ray.training.sections import TrackingSettings
from ier_ray.training.tracking import tag


def runs_in(tracking: TrackingSettings) -> list[Run]:
    """All runs of the experiment."""
    client = MlflowClient(tracking.mlflow)
    experiment = client.get_experiment_by_name(tracking.experiment)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def epochs_in(tracking: TrackingSettings, run: Run, name: str) -> list[tuple[int, float]]:
    """Every value that was ever logged of a figure."""
    logged = MlflowClient(tracking.mlflow).get_metric_history(run.info.run_id, tag(name))
    return [(metric.step, metric.value) for metric in logged]
