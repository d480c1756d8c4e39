"""A trial's record and checkpoints: what interruptions leave, and what is deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from support.runs import local_streams, tiny_settings

from ier_ray.emotions import FOUR
from ier_ray.training.checkpoint import export_checkpoint, load_checkpoint
from ier_ray.training.loop import train
from ier_ray.training.selection import LABEL_FREE
from ier_ray.training.state import RunProgress
from ier_ray.tuning.context import TrialContext
from ier_ray.tuning.halving import Halving
from ier_ray.tuning.history import best_epoch
from ier_ray.tuning.leaderboard import as_text, rows_of, write_parquet
from ier_ray.tuning.trial_log import TrialLog
from ier_ray.tuning.trials import (
    State,
    TrialRecord,
    TrialStore,
    kept,
    rank,
    trial_name,
)

CPU = torch.device("cpu")


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


RULE = Halving(2, 2, 4)


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    return TrialStore(str(tmp_path / "sweep"))


def with_scores(store: TrialStore, index: int, *scores: float, state: State) -> TrialRecord:
    history = [
        {"epoch": i + 1, "score": score, "ier_accuracy": score, "entropy": -score}
        for i, score in enumerate(scores)
    ]
    point = {"loss.balance": index / 2, "optimizer.schedule": "cosine"}
    record = TrialRecord(name=trial_name(index), point=point, state=state, history=history)
    store.write(record)
    return record


def run_trial(
    store: TrialStore,
    shards: dict[str, str],
    *,
    epochs: int,
    halving: Halving | None = None,
    killed: Callable[[dict[str, Any]], None] = lambda metrics: None,
) -> RunProgress:
    """A start of trial 0, with what has to be left of an earlier one."""
    torch.set_num_threads(1)
    settings = tiny_settings(
        shards,
        store.trials,
        name=trial_name(0),
        schedule__epochs=epochs,
        scaling={"num_workers": 1},
        optimizer={"learning_rate": 1e-3, "batch_size": 8},
    )
    log = TrialLog(store, store.read(trial_name(0)), halving)
    context = TrialContext(log, store.directory(trial_name(0)), CPU, (killed,))
    return train(settings, local_streams(shards, batch_size=8), FOUR, context)


def epochs_kept(store: TrialStore) -> dict[str, bool]:
    """The checkpoints, and whether each has trainer state."""
    directory = Path(store.directory(trial_name(0)))
    return {
        path.name: (path / "trainer_state.pt").exists()
        for path in sorted(directory.glob("epoch-*"))
    }


def test_records_are_read_as_they_were_written_in_order(store: TrialStore) -> None:
    assert store.all() == []
    records = [store.create(i, {"loss.balance": i / 2, "a.b": [1, None]}) for i in range(11)]
    assert store.all() == records
    assert [record.name for record in records] == [f"trial-{i:04d}" for i in range(11)]
    assert not records[0].ended
    assert records[0].score is None


def test_an_epoch_that_is_trained_again_replaces_itself_and_those_after() -> None:
    record = TrialRecord(name="x", point={}, error="lost")
    for epoch, score in ((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.5)):
        record = record.with_epoch({"epoch": epoch, "score": score})
    assert [(one["epoch"], one["score"]) for one in record.history] == [(1, 0.1), (2, 0.5)]
    assert record.error is None
    assert (record.time, record.score) == (2, 0.5)


def test_ranks_are_by_the_best_epoch_and_failed_trials_come_last(store: TrialStore) -> None:
    with_scores(store, 0, 0.9, state="failed")
    with_scores(store, 1, 0.1, 0.8, 0.2, state="stopped")
    with_scores(store, 2, 0.7, 0.7, 0.7, state="finished")
    with_scores(store, 3, 0.95, state="unfinished")
    records = sorted(store.all(), key=rank)
    assert [record.name[-1] for record in records] == ["1", "2", "3", "0"]
    assert kept(records, 1) == {"trial-0001"}
    assert kept(records, 9) == {"trial-0001", "trial-0002"}
    rows = rows_of(records)
    assert (rows[0].score, rows[0].best_epoch, rows[0].epochs) == (0.8, 2, 3)
    assert rows[0].metrics == {"ier_accuracy": 0.8, "entropy": -0.8}
    title, first, *_ = as_text(rows, "ier_accuracy").splitlines()
    point = ["loss.balance", "optimizer.schedule"]
    assert title.split() == ["trial", *point, "state", "epochs", "ier_accuracy"]  # which is once
    assert first.split() == ["trial-0001", "0.5", "cosine", "stopped", "3", "0.800"]
    title, first, *_ = as_text(rows, "entropy").splitlines()
    assert title.split()[-2:] == ["entropy", "ier_accuracy"]


def test_the_table_is_a_parquet_file(store: TrialStore, tmp_path: Path) -> None:
    with_scores(store, 0, 0.9, state="finished")
    store.write(TrialRecord(name=trial_name(1), point={"loss.balance": 2.0}, state="failed"))
    write_parquet(f"{tmp_path}/trials.parquet", rows_of(store.all()))
    first, second = pq.read_table(f"{tmp_path}/trials.parquet").to_pylist()
    assert (first["name"], first["loss.balance"], first["score"]) == ("trial-0000", 0.0, 0.9)
    assert (second["state"], second["ier_accuracy"]) == ("failed", None)


def test_an_undisturbed_trial_leaves_its_best_and_its_newest_checkpoint(
    store: TrialStore, shards: dict[str, str]
) -> None:
    store.create(0, {})
    left: list[dict[str, bool]] = []
    progress = run_trial(store, shards, epochs=4, killed=lambda _: left.append(epochs_kept(store)))
    record = store.read(trial_name(0))
    assert record.history == progress.history
    assert set(LABEL_FREE) < set(record.history[0])
    for epoch, found in enumerate(left, start=1):
        best = best_epoch(record.history[:epoch])["epoch"]
        assert found == {f"epoch-{best:06d}": best == epoch, f"epoch-{epoch:06d}": True}


def test_a_trial_killed_between_record_and_checkpoint_goes_on_as_if_it_had_not_been(
    store: TrialStore, shards: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(0, {})
    whole = TrialStore(f"{store.location}-whole")
    whole.create(0, {})
    expected = run_trial(whole, shards, epochs=4).history

    def killed_there(source: str, target: str) -> None:
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr("ier_ray.tuning.context.storage.copy_directory", killed_there)
        with pytest.raises(Killed):
            run_trial(store, shards, epochs=4)
    assert len(store.read(trial_name(0)).history) == 1
    assert epochs_kept(store) == {}

    def at_three(metrics: dict[str, Any]) -> None:
        if metrics["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        run_trial(store, shards, epochs=4, killed=at_three)
    trained: list[int] = []
    run_trial(store, shards, epochs=4, killed=lambda metrics: trained.append(metrics["epoch"]))
    assert trained == [4]
    timeless = [
        {name: value for name, value in one.items() if name not in ("seconds", "images_per_s")}
        for one in store.read(trial_name(0)).history
    ]
    assert timeless == [
        {name: value for name, value in one.items() if name not in ("seconds", "images_per_s")}
        for one in expected
    ]
    again = run_trial(store, shards, epochs=4, killed=lambda metrics: trained.append(0))
    assert (again.epoch, trained) == (4, [4])  # nothing is left to train


def test_a_trial_behind_the_others_ends_by_itself_and_stays_ended(
    store: TrialStore, shards: dict[str, str]
) -> None:
    store.create(0, {})
    store.reach(2, trial_name(1), 2.0)
    assert run_trial(store, shards, epochs=4, halving=RULE).epoch == 2
    assert run_trial(store, shards, epochs=4, halving=RULE).epoch == 2
    assert run_trial(store, shards, epochs=4).epoch == 4


def test_the_best_score_up_to_a_rung_is_left_there_once_whoever_asks_again(
    store: TrialStore,
) -> None:
    log = TrialLog(store, with_scores(store, 0, 0.5, 0.25, 0.875, state="unfinished"), RULE)
    assert not log.should_stop(1)  # no rung
    assert not log.should_stop(2)
    assert not log.should_stop(2)
    assert store.reach(2, trial_name(1), 1e-30) == [0.5]
    assert store.reach(2, trial_name(2), -0.1) == [0.5, 1e-30]
    assert store.reach(4, trial_name(1), 0.1) == []
    behind = with_scores(store, 3, -0.5, -0.25, state="unfinished")
    assert TrialLog(store, behind, RULE).should_stop(2)


def test_ended_trials_keep_weights_of_the_best_only(
    store: TrialStore, shards: dict[str, str]
) -> None:
    store.create(0, {})
    progress = run_trial(store, shards, epochs=2)
    name = trial_name(0)
    best = best_epoch(progress.history)["epoch"]
    export_checkpoint(f"{store.directory(name)}/epoch-{best:06d}", store.weights(name))
    store.tidy(store.read(name), keep_weights=True)
    left = {path.name for path in Path(store.directory(name)).iterdir()}
    assert left == {"trial.json", "best"}
    _, manifest = load_checkpoint(store.weights(name))
    assert manifest.epoch == best
    store.tidy(store.read(name), keep_weights=False)
    assert {path.name for path in Path(store.directory(name)).iterdir()} == {"trial.json"}
