"""Hyperparameter sweeps under Ray Tune: learning rate and loss balance.

Each trial is a light driver that launches its own Ray Train run and forwards its reports, so a
trial may use many workers. Optuna proposes settings, ASHA stops trials that fall behind.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import Field, model_validator
from ray import tune
from ray.train import Result
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from ier_ray import storage
from ier_ray.cluster.capacity import concurrent_groups
from ier_ray.cluster.concurrency import FollowingLimiter
from ier_ray.cluster.connection import connect
from ier_ray.cluster.evaluation import predict_held_out, tested
from ier_ray.cluster.failures import told
from ier_ray.cluster.logs import show_in_job
from ier_ray.cluster.nodes import alive_nodes, growth_of_cluster
from ier_ray.cluster.preflight import check_cluster, footprint_of_sweep
from ier_ray.cluster.runs import (
    BEST_BY,
    best_checkpoint,
    check_run,
    claim_settings,
    group_of,
)
from ier_ray.cluster.sweep_forecast import SweepForecast
from ier_ray.cluster.trainer import PREDICTIONS, train_tracked
from ier_ray.config import Location, Settings, parse_settings
from ier_ray.data.schema import Domain
from ier_ray.errors import SettingsError, TrainingError
from ier_ray.evaluation.summary import Evaluation
from ier_ray.training.checkpoint import export_checkpoint
from ier_ray.training.settings import TrainSettings
from ier_ray.training.tracking import end_run_of

logger = logging.getLogger(__name__)

VALIDATION = ("_accuracy", "_val_loss")
"""Endings of the validation metrics' names in an epoch's record."""
DRIVER_CPUS = 0.01
"""CPUs of a trial's driver; its workers reserve their own. Tune does not accept 0."""


class Interval(Settings):
    """A range to search."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) must not exceed high ({self.high})")
        return self


class SearchSettings(Settings):
    """What is searched, and with how many trials."""

    trials: int = Field(20, ge=1)
    """Number of trials."""
    learning_rate: Interval = Interval(low=8e-5, high=8e-4)
    """Range of optimizer.learning_rate, searched on a log scale."""
    balance: Interval = Interval(low=0.0, high=2.0)
    """Range of loss.balance, searched linearly."""
    grace_epochs: int = Field(5, ge=1)
    """Epochs that every trial gets before it may be stopped."""
    reduction: int = Field(2, ge=2)
    """At each rung, one in this many trials continues."""
    max_concurrent: int | None = Field(None, ge=1)
    """Trials at the same time, at most. As many run as fit on the cluster as it is at the time, one
    CPU left free for reading; nodes that come are used."""


class SweepSettings(Settings):
    """A sweep."""

    name: str = Field("sweep", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the sweep. The same name and settings resume it."""
    storage: Location = "runs"
    """Where sweeps are kept: a directory all workers share, or an s3:// URI."""
    search: SearchSettings = SearchSettings()
    train: TrainSettings
    """Settings of every trial; the sweep sets name, storage and the searched settings."""

    @model_validator(mode="after")
    def _both_networks(self) -> SweepSettings:
        if self.train.schedule.networks != "both":
            raise ValueError(
                f"train.schedule.networks must be both, got {self.train.schedule.networks}: a "
                f"sweep searches loss.balance, which is 0 for one network"
            )
        return self

    @model_validator(mode="after")
    def _every_trial_is_possible(self) -> SweepSettings:
        try:
            list(corner_trials(self.train, self.search, self.storage))
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return self


@dataclass(frozen=True)
class Trial:
    """One row of the table of trials."""

    name: str
    learning_rate: float
    balance: float
    epochs: int
    score: float | None
    """Value of ``schedule.criterion`` in the best epoch; None where the trial failed before its
    first report."""
    metrics: dict[str, float]
    """Validation metrics of that epoch."""
    error: str | None


@dataclass(frozen=True)
class SweepResult:
    """Outcome of a sweep."""

    sweep: str
    checkpoint: str
    """The best epoch of the best trial, exported for serving."""
    best: Trial
    trials: list[Trial]
    """Best first."""
    test: dict[Domain, Evaluation]
    """Metrics of the best trial on each domain's test part, which no trial was chosen by."""
    predictions: str
    """File of the best trial's predictions on the validation and test parts."""
    seconds: float


def run_sweep(settings: SweepSettings) -> SweepResult:
    """Run or resume a sweep, and export its best checkpoint.

    Raises:
        SettingsError, DataError, CapacityError: before anything is started.
        TrainingError: when no trial reported anything.
    """
    started = time.perf_counter()
    settings = settings.model_copy(update={"train": settings.train.located()})
    location = storage.absolute(storage.join(settings.storage, settings.name))
    *_, largest = corner_trials(settings.train, settings.search, location)
    check_run(largest)
    connect()
    check_cluster(
        largest,
        location,
        footprint_of_sweep(largest, settings.search.trials, at_once=trials_at_once(settings)),
        driver_cpus=DRIVER_CPUS,
    )
    claim_settings(
        storage.join(location, "settings.json"),
        settings.model_dump(mode="json"),
        what=f"sweep {settings.name!r}",
    )
    results = make_tuner(settings, location).fit()
    trials = sorted((describe(result, location) for result in results), key=rank)
    for trial in trials:  # Tune may stop a driver before it does so, even after the last epoch
        trial_location = storage.join(location, "trials", trial.name)
        end_run_of(settings.train.tracking, trial_location, failed=trial.error is not None)
    best = trials[0]
    if best.score is None:
        raise TrainingError(f"{location}: every trial failed: {best.error}")
    source, _ = best_checkpoint(trial_run(location, best.name))
    exported = export_checkpoint(source, storage.join(location, "best"))
    predictions = predict_held_out(exported, settings.train)
    predictions.write(storage.join(location, PREDICTIONS))
    logger.info("%s", table(trials, settings.train.criterion))
    return SweepResult(
        sweep=location,
        checkpoint=exported,
        best=best,
        trials=trials,
        test=tested(predictions),
        predictions=storage.join(location, PREDICTIONS),
        seconds=time.perf_counter() - started,
    )


def make_tuner(settings: SweepSettings, location: str) -> tune.Tuner:
    """A new tuner, or the restored one of an earlier start of the same sweep."""
    search = settings.search
    trainable = tune.with_resources(trial_driver(settings.train, location), {"cpu": DRIVER_CPUS})
    fs, path = storage.filesystem(settings.storage)
    earlier = f"{path}/{settings.name}/tune"
    if tune.Tuner.can_restore(earlier, storage_filesystem=fs):
        return tune.Tuner.restore(
            earlier, trainable=trainable, storage_filesystem=fs, resume_errored=True
        )
    trial = group_of(settings.train, driver_cpus=DRIVER_CPUS)
    optuna = OptunaSearch(seed=settings.train.seed)
    limiter = FollowingLimiter(optuna, trial, search.max_concurrent)
    forecast = SweepForecast(
        trial,
        trials=search.trials,
        epochs=settings.train.schedule.epochs,
        at_once=lambda: limiter.max_concurrent,
    )
    return tune.Tuner(
        trainable,
        param_space={
            "learning_rate": tune.loguniform(search.learning_rate.low, search.learning_rate.high),
            "balance": tune.uniform(search.balance.low, search.balance.high),
        },
        tune_config=tune.TuneConfig(
            metric=BEST_BY,
            mode="max",
            num_samples=search.trials,
            search_alg=limiter,
            scheduler=ASHAScheduler(
                time_attr="epoch",
                max_t=settings.train.schedule.epochs,
                grace_period=min(search.grace_epochs, settings.train.schedule.epochs),
                reduction_factor=search.reduction,
            ),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=f"{path}/{settings.name}",
            storage_filesystem=fs,
            callbacks=[forecast],
        ),
    )


def trial_driver(base: TrainSettings, location: str) -> Callable[[dict[str, Any]], None]:
    """The function that Tune calls for each trial."""

    def drive(config: dict[str, Any]) -> None:
        show_in_job()
        name = tune.get_context().get_trial_id()
        settings = trial_settings(base, config, name=name, location=location)
        # A retried trial keeps its name, and no two trials share one: an existing run is its own.
        train_tracked(settings, resumed=True, callbacks=[TuneReportCallback()])

    return drive


def corner_trials(
    base: TrainSettings, search: SearchSettings, location: str
) -> Iterator[TrainSettings]:
    """The trials at the bounds of what is searched, the largest values last.

    Raises:
        SettingsError: when one of them is not possible.
    """
    rates, balances = search.learning_rate, search.balance
    for rate, balance in product((rates.low, rates.high), (balances.low, balances.high)):
        config = {"learning_rate": rate, "balance": balance}
        yield trial_settings(base, config, name="trial", location=location)


def trial_settings(
    base: TrainSettings, config: dict[str, Any], *, name: str, location: str
) -> TrainSettings:
    """The settings of one trial.

    Raises:
        SettingsError: when the base does not allow the searched values.
    """
    values = base.model_dump(mode="json")
    values["name"], values["storage"] = name, storage.join(location, "trials")
    values["optimizer"]["learning_rate"] = config["learning_rate"]
    values["loss"]["balance"] = config["balance"]
    searched = ", ".join(f"{name} {value:g}" for name, value in config.items())
    return parse_settings(TrainSettings, values, source=f"search, a trial of {searched}")


def concurrent_trials(settings: TrainSettings) -> int:
    """How many trials the cluster holds at the same time now, or may hold when it has grown."""
    trial = group_of(settings, driver_cpus=DRIVER_CPUS)
    return concurrent_groups(trial, growth_of_cluster(alive_nodes()))


def trials_at_once(settings: SweepSettings) -> int:
    """The largest number of trials at the same time that can be foreseen."""
    found = concurrent_trials(settings.train)
    return min(found, settings.search.max_concurrent or found)


def trial_run(location: str, name: str) -> Result:
    """The Ray Train run of a trial."""
    fs, path = storage.filesystem(storage.join(location, "trials", name))
    return Result.from_path(path, storage_filesystem=fs)


def describe(result: tune.Result, location: str) -> Trial:
    """A trial as a row: the metrics of its best epoch, not of its last."""
    name = result.metrics.get("trial_id", "") if result.metrics else ""
    reported = bool(result.metrics) and BEST_BY in result.metrics
    best = best_checkpoint(trial_run(location, name))[1] if reported else {}
    return Trial(
        name=name,
        learning_rate=result.config["learning_rate"],
        balance=result.config["balance"],
        epochs=result.metrics["epoch"] if reported else 0,
        score=best.get(BEST_BY),
        metrics={key: best[key] for key in best if key.endswith(VALIDATION)},
        error=told(result.error) if result.error else None,
    )


def rank(trial: Trial) -> tuple[float, str]:
    """Sort key: best trial first, failed ones last, ties by name."""
    return (math.inf if trial.score is None else -trial.score, trial.name)


def table(trials: list[Trial], criterion: str) -> str:
    """The trials as a text table."""
    metrics = list(trials[0].metrics)
    titles = "".join(f"  {name:>13}" for name in (criterion, *metrics))
    lines = [f"trial        learning rate  balance  epochs{titles}"]
    for trial in trials:
        values = [trial.score, *(trial.metrics.get(name) for name in metrics)]
        scores = "".join("  " + ("failed" if v is None else f"{v:.3f}").rjust(13) for v in values)
        lines.append(
            f"{trial.name:<12} {trial.learning_rate:13.2e}  {trial.balance:7.3f}  "
            f"{trial.epochs:6d}{scores}"
        )
    return "\n".join(lines)
