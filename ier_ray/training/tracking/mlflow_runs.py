"""MLflow runs of training runs.

The ``mlflow`` library is an optional dependency (extra ``mlflow``).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from ier_ray.config import flattened
from ier_ray.errors import SettingsError
from ier_ray.extras import optional_library
from ier_ray.training.sections import SQLITE, TrackingSettings
from ier_ray.training.settings import TrainSettings
from ier_ray.training.tracking.tensorboard import tag

logger = logging.getLogger(__name__)

LOCATION_TAG = "ier_ray.run"
"""Tag of an MLflow run: the location of its training run."""
HTTP_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""An unreachable server delays an epoch by seconds; MLflow's default limits allow many minutes."""


def require_tracking(tracking: TrackingSettings) -> None:
    """Raise :class:`SettingsError` if MLflow is configured but cannot be used."""
    if tracking.mlflow is not None:
        connect(tracking)


@contextmanager
def tracked(
    settings: TrainSettings, location: str, *, resumed: bool, name: str | None = None
) -> Iterator[str | None]:
    """The id of a training run's MLflow run; None if MLflow is not configured.

    When the block ends, the MLflow run becomes FINISHED, or FAILED if the block raised.

    Args:
        location: location of the training run.
        resumed: whether to continue the MLflow run of an earlier start, if there is one.
        name: of the MLflow run; by default that of the training run.

    Raises:
        SettingsError: when MLflow cannot be used.
    """
    if settings.tracking.mlflow is None:
        yield None
        return
    run = open_run(settings, location, resumed=resumed, name=name)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    finally:
        end_run(settings.tracking, run, status)


def log_epochs(
    tracking: TrackingSettings, run: str | None, history: Sequence[Mapping[str, float]]
) -> None:
    """Log the epochs that the MLflow run does not have yet; does nothing if ``run`` is None.

    An epoch that is trained again after a failure keeps its first metrics: MLflow cannot replace
    them. A tracking failure is only logged as a warning, so that the training run continues.
    """
    if run is None:
        return
    try:
        client = client_of(tracking)
        logged = {metric.step for metric in client.get_metric_history(run, tag("total"))}
        for record in history:
            if record["epoch"] not in logged:
                client.log_batch(run, metrics=metrics_of(record))
    except store_errors() as error:
        logger.warning(
            "epochs up to %d are not all in MLflow at %s (%s); they are logged when training "
            "ends, or when the run is resumed",
            history[-1]["epoch"],
            tracking.mlflow,
            error,
        )


def open_run(
    settings: TrainSettings, location: str, *, resumed: bool, name: str | None = None
) -> str:
    """The id of a training run's MLflow run, newly created or continued, with status RUNNING.

    Its parameters are the settings of the first start: MLflow parameters cannot be changed.
    """
    client, experiment = connect(settings.tracking)
    try:
        found = earlier_runs(client, experiment, location) if resumed else []
        if found:
            run: str = found[0].info.run_id
            client.update_run(run, status="RUNNING")
            return run
        run = client.create_run(
            experiment, run_name=name or settings.name, tags={LOCATION_TAG: location}
        ).info.run_id
        client.log_batch(run, params=parameters_of(settings))
    except store_errors() as error:
        raise unusable_store(settings.tracking, error) from error
    return run


def earlier_runs(client: Any, experiment: str, location: str) -> list[Any]:
    """The newest MLflow run of the training run at a location, or an empty list."""
    return list(
        client.search_runs(
            [experiment],
            filter_string=f"tags.`{LOCATION_TAG}` = {location!r}",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
    )


def end_run(tracking: TrackingSettings, run: str, status: str) -> None:
    """Set the final status of an MLflow run; a failure is logged as a warning."""
    try:
        client_of(tracking).set_terminated(run, status)
    except store_errors() as error:
        logger.warning(
            "the run's end (%s) is not in MLflow at %s: %s", status, tracking.mlflow, error
        )


def end_run_of(tracking: TrackingSettings, location: str, *, failed: bool) -> None:
    """Set the final status of a location's MLflow run, if its driver was stopped before doing so.

    Does nothing if there is no such run; a failure is logged as a warning.
    """
    if tracking.mlflow is None:
        return
    errors: tuple[type[Exception], ...] = (SettingsError, *store_errors())
    try:
        for run in earlier_runs(*connect(tracking), location):
            end_run(tracking, run.info.run_id, "FAILED" if failed else "FINISHED")
    except errors as error:
        logger.warning("the end of %s is not in MLflow: %s", location, error)


def connect(tracking: TrackingSettings) -> tuple[Any, str]:
    """A client of the tracking store, and the id of the experiment, created if there is none.

    Raises:
        SettingsError: when the library is missing, the store cannot be used, or the experiment
            was deleted.
    """
    try:
        client = client_of(tracking)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            return client, str(client.create_experiment(tracking.experiment))
    except store_errors() as error:
        raise unusable_store(tracking, error) from error
    if experiment.lifecycle_stage != "active":
        raise SettingsError(
            f"tracking.experiment {tracking.experiment!r} was deleted at {tracking.mlflow}; "
            f"restore it there, or give another name"
        )
    return client, str(experiment.experiment_id)


def client_of(tracking: TrackingSettings) -> Any:
    """A client of the tracking store."""
    library = mlflow()
    for name, value in HTTP_LIMITS.items():
        os.environ.setdefault(name, value)  # MLflow reads them only from the environment
    uri = tracking.mlflow or ""
    if uri.startswith(SQLITE):  # MLflow would retry for minutes
        with closing(sqlite3.connect(uri.removeprefix(SQLITE))) as database:
            database.execute("PRAGMA schema_version")
    return library.MlflowClient(uri)


def mlflow() -> Any:
    """The ``mlflow`` module.

    Raises:
        SettingsError: when it is not installed.
    """
    return optional_library("mlflow", extra="mlflow", use="tracking.mlflow needs")


def store_errors() -> tuple[type[Exception], ...]:
    """Exceptions that an unusable tracking store raises."""
    return (mlflow().exceptions.MlflowException, sqlite3.Error)


def unusable_store(tracking: TrackingSettings, error: Exception) -> SettingsError:
    """The error for a tracking store that cannot be used."""
    cause = " ".join(str(error).split())  # it may be a page of HTML
    return SettingsError(
        f"tracking.mlflow {tracking.mlflow} cannot be used ({cause}); start the server or correct "
        f"the URI, or remove the setting: TensorBoard's files are written without it"
    )


def metrics_of(record: Mapping[str, float]) -> list[Any]:
    """An epoch's record as MLflow metrics, named as in TensorBoard."""
    metric, now_ms = mlflow().entities.Metric, int(time.time() * 1000)
    return [
        metric(tag(name), value, now_ms, int(record["epoch"]))
        for name, value in record.items()
        if name != "epoch"
    ]


def parameters_of(settings: TrainSettings) -> list[Any]:
    """All settings as MLflow parameters, under their dotted names."""
    param = mlflow().entities.Param
    values = settings.model_dump(mode="json", exclude={"tracking"})
    return [param(name, str(value)) for name, value in flattened(values)]
