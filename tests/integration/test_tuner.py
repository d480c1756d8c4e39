"""Small sweeps on a real cluster: what a sweep leaves, and what it does when started again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
import ray
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray import tune
from support.processes import descendants, wait_for
from support.sweeps import sweep, trial_files

from ier_ray.cluster.concurrency import TrialsThatFit
from ier_ray.cluster.folds import trial_runs
from ier_ray.cluster.streams import open_splits, open_streams
from ier_ray.cluster.tuner import SweepResult, run_sweep, run_trials, trial_group, trial_resources
from ier_ray.data.streams import read_locally
from ier_ray.errors import SettingsError
from ier_ray.training.checkpoint import load_checkpoint
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.sections import TrackingSettings
from ier_ray.training.selection import LABEL_FREE
from ier_ray.tuning.halving import Halving
from ier_ray.tuning.history import curve
from ier_ray.tuning.trials import TrialStore

pytestmark = pytest.mark.alone


def test_a_sweep_ranks_by_the_best_epoch_and_exports_it(swept: SweepResult) -> None:
    assert {trial.name for trial in swept.trials} == {f"trial-{i:04d}" for i in range(3)}
    first = next(trial for trial in swept.trials if trial.name == "trial-0000")
    assert first.point == {"loss.balance": 1.0, "optimizer.batch_size": 8}  # the base setting
    assert len({str(trial.point) for trial in swept.trials}) == 3
    found = [trial.score for trial in swept.trials]
    assert found == sorted(found, key=lambda score: -(score or 0.0))
    assert swept.trials[0] == swept.best
    assert swept.best.score == swept.best.metrics["ier_accuracy"]
    assert set(LABEL_FREE) < set(swept.best.metrics)
    assert swept.test["ier"].samples == 32
    assert swept.test["ier"].seen == 0
    _, manifest = load_checkpoint(swept.checkpoint)
    assert (manifest.epoch, manifest.score) == (swept.best.best_epoch, swept.best.score)
    rows = pq.read_table(swept.table).to_pylist()
    assert [(row["name"], row["score"]) for row in rows] == [
        (t.name, t.score) for t in swept.trials
    ]
    journal = JournalStorage(JournalFileBackend(swept.study))
    study = optuna.load_study(study_name="small", storage=journal)
    by_name = {trial.user_attrs["trial"]: trial for trial in study.trials}
    for trial in swept.trials:
        assert by_name[trial.name].value == trial.score
        assert by_name[trial.name].params == trial.point
        assert len(by_name[trial.name].intermediate_values) == trial.epochs
    page = Path(swept.page).read_text()
    for text in ("Plotly.newPlot", *LABEL_FREE, *by_name):
        assert text in page


def test_trials_end_at_rungs_by_what_the_others_had_recorded(swept: SweepResult) -> None:
    rule = Halving(1, 2, 3)
    records = TrialStore(swept.sweep).all()
    for index, record in enumerate(records):  # one at a time: those before have ended
        own, *others = ([*curve(one.history).values()] for one in (record, *records[:index]))
        ends = [
            rung
            for rung in rule.rungs
            if len(own) >= rung
            and rule.stops(max(own[:rung]), [max(s[:rung]) for s in others if len(s) >= rung])
        ]
        assert len(own) == (ends[0] if ends else 3)
        assert record.state == ("stopped" if ends else "finished")


def test_only_the_best_weights_are_kept(swept: SweepResult) -> None:
    files = trial_files(Path(swept.sweep).parent)
    assert {name: kept for name, (_, kept) in files.items()} == {
        trial.name: {"best"} if trial == swept.best else set() for trial in swept.trials
    }


@pytest.mark.timeout(400)
def test_a_sweep_is_extended_without_running_a_trial_again(
    shards: dict[str, str], swept: SweepResult
) -> None:
    directory = Path(swept.sweep).parent
    before = trial_files(directory)
    assert run_sweep(sweep(shards, directory)).trials == swept.trials  # nothing is left to do
    assert trial_files(directory) == before

    with trial_processes() as processes:
        extended = run_sweep(sweep(shards, directory, trials=6, max_concurrent=2))
    new = {trial.name for trial in extended.trials} - set(before)
    assert new == {"trial-0003", "trial-0004", "trial-0005"}
    assert len(processes) == 2  # the third takes over the process of one that has ended
    assert [trial for trial in extended.trials if trial.name in before] == swept.trials
    after = trial_files(directory)
    assert {name: after[name][0] for name in before} == {n: time for n, (time, _) in before.items()}
    assert after[extended.best.name][1] == {"best"}

    with pytest.raises(SettingsError, match=r"'small' exists .*: search\.reduction was 2, is 3"):
        run_sweep(sweep(shards, directory, trials=6, reduction=3))
    with pytest.raises(SettingsError, match=r"search.trials is 3, but .* has 6 trials: it can"):
        run_sweep(sweep(shards, directory, trials=3))


@contextmanager
def trial_processes() -> Iterator[set[int]]:
    """The ids of the processes that begin to run trials while the body runs."""
    before = {process.pid for process in descendants("ImplicitFunc")}
    found: set[int] = set()
    over = Event()

    def look() -> None:
        while not over.wait(0.1):
            found.update({process.pid for process in descendants("ImplicitFunc")} - before)

    looking = Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()


@pytest.mark.timeout(400)
def test_divergence_is_final_and_does_not_end_the_sweep(
    shards: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(shards["fer"]).parent)  # trials run elsewhere: paths must not depend
    settings = sweep(
        {"fer": "fer", "ier": "ier"},
        tmp_path,
        {"schedule__epochs": 1, "tracking": {"mlflow": f"sqlite:///{tmp_path}/mlflow.db"}},
        space={"optimizer.learning_rate": [1e-3, 1e30]},
        searcher="grid",
        trials=2,
        max_concurrent=2,
    )
    result = run_sweep(settings)
    assert [trial.state for trial in result.trials] == ["finished", "failed"]
    assert "lower optimizer.learning_rate (now 1e+30)" in (result.trials[1].error or "")
    assert_in_mlflow(result, settings.train.tracking)
    before = trial_files(tmp_path)
    assert run_sweep(settings).trials == result.trials
    assert trial_files(tmp_path) == before


def assert_in_mlflow(result: SweepResult, tracking: TrackingSettings) -> None:
    client = MlflowClient(tracking.mlflow)
    runs = {run.info.run_name: run for run in runs_in_mlflow(tracking)}
    assert runs.keys() == {trial.name for trial in result.trials}
    for trial in result.trials:
        run = runs[trial.name]
        assert run.info.status == ("FAILED" if trial.error else "FINISHED")
        for name, value in trial.point.items():
            assert run.data.params[name] == str(value)
        logged = client.get_metric_history(run.info.run_id, "validation/ier_accuracy")
        assert [metric.step for metric in logged] == list(range(1, trial.epochs + 1))


def runs_in_mlflow(tracking: TrackingSettings) -> list[Any]:
    client = MlflowClient(tracking.mlflow)
    experiment = client.get_experiment_by_name(tracking.experiment)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_trials_of_several_workers_end_by_themselves_two_at_once(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = sweep(
        shards,
        tmp_path,
        {"schedule__epochs": 2, "scaling": {"num_workers": 2, "cpus_per_worker": 0.5}},
        trials=2,
        max_concurrent=2,
    )
    result = run_sweep(settings)
    assert {trial.state for trial in result.trials} <= {"finished", "stopped"}
    assert all(trial.epochs == (2 if trial.state == "finished" else 1) for trial in result.trials)
    states = {group["state"] for group in ray.util.placement_group_table().values()}
    assert states <= {"REMOVED"}
    kept = {name for name, (_, files) in trial_files(tmp_path).items() if "best" in files}
    assert kept == {result.best.name}
    assert not list(tmp_path.glob("small/trials/*/checkpoint_*/"))


def test_the_cluster_is_asked_for_all_trials_at_once(
    shards: dict[str, str], tmp_path: Path
) -> None:
    """So that its autoscaler starts nodes for all of them, not one after another."""
    settings = sweep(shards, tmp_path, {"schedule__epochs": 1}, trials=2, max_concurrent=2)
    store = TrialStore(f"{tmp_path}/small")
    held = ray.util.placement_group([{"CPU": 5}])
    ray.get(held.ready())
    running = Thread(
        target=run_trials, args=(settings, store, TrialsThatFit(trial_group(settings), most=2))
    )
    running.start()
    try:
        wait_for(lambda: waiting_groups() == 2)
    finally:
        ray.util.remove_placement_group(held)
        running.join()
    assert all(record.ended for record in store.all())


def waiting_groups() -> int:
    """Placement groups that the cluster has no room for yet."""
    return sum(one["state"] == "PENDING" for one in ray.util.placement_group_table().values())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_trial_trains_once_for_each_of_its_folds(shards: dict[str, str], tmp_path: Path) -> None:
    settings = sweep(
        shards,
        tmp_path,
        {"schedule__epochs": 2, "tracking": {"mlflow": f"sqlite:///{tmp_path}/mlflow.db"}},
        folds=2,
        trials=1,
    )
    result = run_sweep(settings)
    store = TrialStore(result.sweep)
    (record,) = store.all()
    runs = trial_runs(store.settings(settings.train, record), 2)
    assert [run.data.val_fold for run in runs] == [1, 2]
    for fold, run in enumerate(runs):
        for split in open_splits(run).values():
            train_rows, validation, test = (
                set(rows.pixels.tolist()) for rows in (split.train, split.validation, split.test)
            )
            assert not validation & (train_rows | test)
            assert not train_rows & test
        # The trial's fold has the scores of a run that trains on these rows alone.
        streams = replace(open_streams(run, rank=0, world_size=1), execute=read_locally)
        alone = train(run, streams, streams.scheme, LocalContext(tmp_path / run.name)).history
        found = record.history[2 * fold : 2 * fold + 2]
        assert [(one["epoch"], one["fold"]) for one in found] == [
            (2 * fold + 1, fold),
            (2 * fold + 2, fold),
        ]
        for name in ("score", "fer_val_loss", "ier_val_loss", "step"):
            expected = [epoch[name] for epoch in alone]
            assert [epoch[name] for epoch in found] == pytest.approx(expected, rel=1e-3)
    scores = [epoch["score"] for epoch in record.history]
    assert (result.best.state, result.best.epochs) == ("finished", 4)
    assert result.best.score == (max(scores[:2]) + max(scores[2:])) / 2
    assert result.best.metrics["ier_accuracy"] == result.best.score
    assert result.test["ier"].seen == 0
    _, manifest = load_checkpoint(result.checkpoint)
    assert (manifest.epoch, manifest.data["ier"].plan.val_fold) == (result.best.best_epoch, 1)
    assert trial_files(tmp_path)["trial-0000"][1] == {"fold-0", "fold-1", "best"}
    assert not list(tmp_path.glob("small/trials/*/fold-*/epoch-*"))
    assert {
        run.info.run_name: run.info.status for run in runs_in_mlflow(settings.train.tracking)
    } == {"trial-0000-fold-0": "FINISHED", "trial-0000-fold-1": "FINISHED"}
    assert run_sweep(settings).trials == result.trials  # nothing is left to do
    with pytest.raises(SettingsError, match=r"search\.folds was 2, is 3"):
        run_sweep(
            settings.model_copy(update={"search": settings.search.model_copy(update={"folds": 3})})
        )


def test_more_folds_than_the_data_have_are_refused_before_anything_starts(
    shards: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"search\.folds is 5, but .* leave 4 beside the test"):
        run_sweep(sweep(shards, tmp_path, folds=5))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_folds_of_several_workers_are_runs_one_after_the_other(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = sweep(
        shards,
        tmp_path,
        {"schedule__epochs": 1, "scaling": {"num_workers": 2, "cpus_per_worker": 0.5}},
        folds=2,
        trials=1,
    )
    result = run_sweep(settings)
    (record,) = TrialStore(result.sweep).all()
    assert [(one["epoch"], one["fold"]) for one in record.history] == [(1, 0), (2, 1)]
    first, second = (one["score"] for one in record.history)
    assert (record.state, record.score) == ("finished", (first + second) / 2)
    _, manifest = load_checkpoint(result.checkpoint)
    assert (manifest.score, manifest.data["ier"].plan.val_fold) == (first, 1)
    assert not list(tmp_path.glob("small/trials/*/fold-*/checkpoint_*/"))


def test_concurrency_is_what_the_cluster_holds(shards: dict[str, str], tmp_path: Path) -> None:
    assert ray.cluster_resources()["CPU"] == 5
    one, two = (
        sweep(shards, tmp_path, {"scaling": {"num_workers": count, "cpus_per_worker": 1.0}})
        for count in (1, 2)
    )
    # Most of a CPU stays for reading; the drivers of trials of several workers fit beside it.
    assert TrialsThatFit(trial_group(one))() == 4
    assert TrialsThatFit(trial_group(two))() == 2
    assert TrialsThatFit(trial_group(one), most=2)() == 2


@pytest.mark.parametrize(
    ("scaling", "search", "bundle"),
    [
        ({"cpus_per_worker": 2.0}, {}, {"CPU": 2.0}),
        ({"use_gpu": True}, {"trials_per_gpu": 4}, {"CPU": 1.0, "GPU": 0.25}),
        (
            {"use_gpu": True, "accelerator_type": "A100"},
            {},
            {"CPU": 1.0, "GPU": 1.0, "accelerator_type:A100": 0.001},
        ),
        ({"num_workers": 3, "use_gpu": True}, {}, {"CPU": 0.01}),
    ],
)
def test_a_trial_reserves_what_its_settings_say(
    scaling: dict[str, Any],
    search: dict[str, Any],
    bundle: dict[str, float],
    shards: dict[str, str],
    tmp_path: Path,
) -> None:
    settings = sweep(shards, tmp_path, {"scaling": scaling}, **search)
    assert trial_resources(settings) == tune.PlacementGroupFactory([bundle])


def test_a_trial_runs_on_nodes_with_its_labels(shards: dict[str, str], tmp_path: Path) -> None:
    labels = {"region": "eu"}
    settings = sweep(shards, tmp_path, {"scaling": {"num_workers": 1, "labels": labels}})
    expected = tune.PlacementGroupFactory([{"CPU": 1.0}], bundle_label_selector=[labels])
    assert trial_resources(settings) == expected
