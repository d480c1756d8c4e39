"""Sweeps under Ray Tune: trials of one worker in Tune's own processes, others as nested runs.

Tune starts the trials and gives them their resources. What to try, when to stop and what is left
are functions of the trials' records (:mod:`ier_ray.tuning`): a sweep can always be resumed.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ray import tune
from ray.tune.execution import tune_controller

from ier_ray import storage
from ier_ray.cluster.concurrency import TrialsThatFit
from ier_ray.cluster.connection import connect
from ier_ray.cluster.evaluation import predict_held_out, tested
from ier_ray.cluster.folds import trial_runs
from ier_ray.cluster.packing import Group
from ier_ray.cluster.preflight import check_cluster, footprint_of_sweep
from ier_ray.cluster.runs import check_data, check_run, claim_settings, group_of
from ier_ray.cluster.sweep_forecast import SweepForecast
from ier_ray.cluster.sweep_progress import SweepProgress
from ier_ray.cluster.trial import trial_function
from ier_ray.cluster.trial_queue import Losses, TrialActors, TrialQueue
from ier_ray.data.schema import Domain
from ier_ray.errors import SettingsError, TrainingError
from ier_ray.evaluation.summary import Evaluation
from ier_ray.training.checkpoint import export_checkpoint
from ier_ray.training.run_files import PREDICTIONS
from ier_ray.training.sections import ScalingSettings
from ier_ray.training.settings import TrainSettings
from ier_ray.training.tracking import end_run_of
from ier_ray.tuning.leaderboard import Row, as_text, rows_of, write_parquet
from ier_ray.tuning.page import render_page
from ier_ray.tuning.settings import SweepSettings
from ier_ray.tuning.study import write_study
from ier_ray.tuning.trials import TrialRecord, TrialStore, is_finished, rank

logger = logging.getLogger(__name__)

TABLE = "trials.parquet"
STUDY = "study.journal"
PAGE = "sweep.html"
DRIVER_CPUS = 0.01
"""CPUs of a trial that runs Ray Train; its workers reserve their own. Tune does not accept 0."""
CHANGEABLE = (
    *(f"search.{name}" for name in ("trials", "max_concurrent", "trials_per_gpu", "keep")),
    *(f"train.scaling.{name}" for name in ScalingSettings.model_fields if name != "num_workers"),
    "train.tracking",
)
"""Settings that may change when a sweep is resumed; the number of workers would change a step."""


@dataclass(frozen=True)
class SweepResult:
    """Outcome of a sweep."""

    sweep: str
    checkpoint: str
    """The best epoch of the best trial, exported for serving."""
    best: Row
    trials: list[Row]
    """Best first."""
    table: str
    """Parquet file of the trials."""
    study: str
    """The trials as an Optuna study: a file of its journal storage."""
    page: str
    """HTML page about the trials."""
    test: dict[Domain, Evaluation]
    """Metrics of the best trial on each domain's test part, which no trial was chosen by."""
    predictions: str
    """File of the best trial's predictions on the validation and test parts."""
    seconds: float


def run_sweep(settings: SweepSettings) -> SweepResult:
    """Run or resume a sweep, and export its best checkpoint.

    Raises:
        SettingsError, DataError, CapacityError: before anything is started.
        TrainingError: when every trial failed.
    """
    started = time.perf_counter()
    settings = settings.model_copy(update={"train": settings.train.located()})
    store = TrialStore(storage.absolute(storage.join(settings.storage, settings.name)))
    for trial in distinct_runs(settings, store):
        check_run(trial)
        for run in trial_runs(trial, settings.search.folds)[1:]:  # what differs between folds
            check_data(run)
    connect()
    room = TrialsThatFit(trial_group(settings), settings.search.max_concurrent)
    check_cluster(
        settings.train,
        store.location,
        footprint_of_sweep(
            settings.train,
            trials=settings.search.trials,
            folds=settings.search.folds,
            keep=settings.search.keep,
            at_once=room(),
        ),
        driver_cpus=room.trial.driver_cpus,
    )
    claim_settings(
        storage.join(store.location, "settings.json"),
        settings.model_dump(mode="json"),
        what=f"sweep {settings.name!r}",
        changeable=CHANGEABLE,
    )
    run_trials(settings, store, room)
    return concluded(settings, store, started)


def distinct_runs(settings: SweepSettings, store: TrialStore) -> Iterator[TrainSettings]:
    """A trial for each value of what decides whether a run can start; the base setting first."""
    seen: list[Any] = []
    for point in settings.space.variations():
        trial = store.settings(settings.train, TrialRecord(name="trial", point=point))
        optimizer = trial.optimizer
        decides = (
            trial.data,
            trial.model,
            trial.schedule,
            trial.loss.supervision,
            (optimizer.batch_size, optimizer.trunk_factor == 0, optimizer.frozen_layers),
        )
        if decides not in seen:
            seen.append(decides)
            yield trial


def run_trials(settings: SweepSettings, store: TrialStore, room: TrialsThatFit) -> None:
    """Run the trials that are left, and new ones, until ``search.trials`` have ended.

    Raises:
        SettingsError: when the sweep has more trials already.
    """
    forecast = SweepForecast(
        room.trial,
        trials=settings.search.trials,
        epochs=settings.epochs,
        at_once=room,
    )
    queue = TrialQueue(settings, store, room, forecast)
    if len(queue.records) > settings.search.trials:
        raise SettingsError(
            f"search.trials is {settings.search.trials}, but {store.location} has "
            f"{len(queue.records)} trials: it can only be raised"
        )
    if not queue.is_done:
        progress = SweepProgress(queue)
        tuner = make_tuner(settings, store, queue, progress)
        with progress.shown():
            tuner.fit()


def make_tuner(
    settings: SweepSettings, store: TrialStore, queue: TrialQueue, progress: SweepProgress
) -> tune.Tuner:
    """A tuner for what the queue holds."""
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the job
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # trials write their own
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its banner ignores verbose=0
    # Nothing reads Tune's snapshots, each of which uploads something for every trial so far.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "inf")
    # The queue says how many may start; Tune alone would ask the cluster for one after another.
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "100000")
    tune_controller.RayActorManager = TrialActors
    # It misses the files of Tune's own loggers; the trials' records have the metrics.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    storage.delete_directory(storage.join(store.location, "tune"))  # of an earlier start
    fs, path = storage.filesystem(store.location)
    return tune.Tuner(
        tune.with_resources(trial_function(settings, store), trial_resources(settings)),
        # A trial takes over the process of one that has ended: a new one imports for seconds.
        tune_config=tune.TuneConfig(num_samples=-1, search_alg=queue, reuse_actors=True),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=path,
            storage_filesystem=fs,
            callbacks=[Losses(queue), progress],
            verbose=0,
        ),
    )


def trial_resources(settings: SweepSettings) -> tune.PlacementGroupFactory:
    """What Tune reserves for a trial: its worker's resources, or those of a nested run's driver."""
    scaling = settings.train.scaling
    if scaling.num_workers > 1:
        return tune.PlacementGroupFactory([{"CPU": DRIVER_CPUS}])
    bundle = {"CPU": scaling.cpus_per_worker}
    if scaling.use_gpu:
        bundle["GPU"] = 1 / settings.search.trials_per_gpu
    if scaling.accelerator_type:
        bundle[f"accelerator_type:{scaling.accelerator_type}"] = 0.001
    selector = {"bundle_label_selector": [scaling.labels]} if scaling.labels else {}
    return tune.PlacementGroupFactory([bundle], **selector)


def trial_group(settings: SweepSettings) -> Group:
    """What a trial holds as long as it trains."""
    several = settings.train.scaling.num_workers > 1
    group = group_of(settings.train, driver_cpus=DRIVER_CPUS if several else 0.0)
    return replace(group, gpus=group.gpus / settings.search.trials_per_gpu)


def concluded(settings: SweepSettings, store: TrialStore, started: float) -> SweepResult:
    """The result of a sweep whose trials have ended.

    Raises:
        TrainingError: when every trial failed.
    """
    proposed = store.all()
    records = sorted(proposed, key=rank)
    for record in records:
        if not record.ended:  # its process could not say so itself
            trial = store.settings(settings.train, record)
            for run in trial_runs(trial, settings.search.folds):
                location = storage.join(run.storage, run.name)
                if not is_finished(location):
                    end_run_of(settings.train.tracking, location, failed=True)
    best, rows = records[0], rows_of(records)
    if not best.ranked:
        raise TrainingError(f"{store.location}: every trial failed: {best.error}")
    table, study, page, predicted = (
        storage.join(store.location, file) for file in (TABLE, STUDY, PAGE, PREDICTIONS)
    )
    write_parquet(table, rows)
    logger.info("%s", as_text(rows, settings.train.criterion))
    exported = export_checkpoint(store.weights(best.name), storage.join(store.location, "best"))
    predictions = predict_held_out(exported, store.settings(settings.train, best))
    predictions.write(predicted)
    space = settings.space
    write_study(study, space, proposed, name=settings.name)
    storage.write_bytes(page, render_page(space, proposed, name=settings.name).encode())
    return SweepResult(
        sweep=store.location,
        checkpoint=exported,
        best=rows[0],
        trials=rows,
        table=table,
        study=study,
        page=page,
        test=tested(predictions),
        predictions=predicted,
        seconds=time.perf_counter() - started,
    )
