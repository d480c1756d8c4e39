"""Trials of several folds: real training in this process, with interruptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import SIZE, tiny_settings

from ier_ray.cluster.folds import trial_runs
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.emotions import FOUR
from ier_ray.errors import LostWorkersError, TrainingError
from ier_ray.training.checkpoint import load_checkpoint
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import RunProgress
from ier_ray.tuning.context import TrialContext
from ier_ray.tuning.fold_training import train_folds
from ier_ray.tuning.halving import Halving
from ier_ray.tuning.history import best_epoch, running_mean
from ier_ray.tuning.trial_log import TrialLog
from ier_ray.tuning.trials import TrialRecord, TrialStore, trial_name

NAME = trial_name(0)
EPOCHS = 2


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


def streams(settings: TrainSettings) -> JointStreams:
    fer, ier = (
        SplitIndex.read(ShardSet.open(settings.data.location(one)), settings.split_plan(one))
        for one in settings.domains
    )
    return JointStreams(fer, ier, Preprocessing(SIZE), batch_size=16, seed=1)


def timeless(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in epoch.items() if name not in ("seconds", "images_per_s")}
        for epoch in history
    ]


@dataclass
class Trial:
    """Trial 0 of a sweep, of ``folds`` folds of two epochs; may be started again and again."""

    store: TrialStore
    shards: dict[str, str]
    folds: int = 2
    halving: Halving | None = None
    trained: list[tuple[str, int]] = field(default_factory=list)
    """Run and epoch (within it) of all that was trained, by all starts."""

    def __post_init__(self) -> None:
        self.store.create(0, {})

    @property
    def runs(self) -> list[TrainSettings]:
        settings = tiny_settings(
            self.shards,
            self.store.trials,
            name=NAME,
            schedule={"epochs": EPOCHS, "warmup_epochs": 0},
            scaling={"num_workers": 1},
            optimizer={"learning_rate": 1e-3, "batch_size": 16},
        )
        return trial_runs(settings, self.folds)

    def start(self, killed: Callable[[str, int], None] = lambda run, epoch: None) -> TrialRecord:
        """Start the trial; ``killed`` is called when a checkpoint is stored, and may raise."""
        torch.set_num_threads(1)

        def train_here(settings: TrainSettings, log: TrialLog) -> tuple[RunProgress, str]:
            def tell(metrics: dict[str, Any]) -> None:
                self.trained.append((settings.name, metrics["epoch"]))
                killed(settings.name, metrics["epoch"])

            directory = f"{settings.storage}/{settings.name}"
            context = TrialContext(log, directory, torch.device("cpu"), (tell,))
            progress = train(settings, streams(settings), FOUR, context)
            best = best_epoch(progress.history)["epoch"]
            return progress, context.epoch_checkpoint(best)

        log = TrialLog(self.store, self.store.read(NAME), self.halving)
        train_folds(self.runs, log, train_here)
        return self.store.read(NAME)

    def files(self) -> set[str]:
        """Directories of checkpoints and weights."""
        directory = Path(self.store.directory(NAME))
        return {str(one.parent.relative_to(directory)) for one in directory.rglob("manifest.json")}


def at(run: str, epoch: int, error: BaseException | None = None) -> Callable[[str, int], None]:
    """Raises when the checkpoint of an epoch has been stored; by default it kills."""

    def killed(name: str, stored: int) -> None:
        if (name, stored) == (run, epoch):
            raise error or Killed

    return killed


@pytest.fixture
def trial(shards: dict[str, str], tmp_path: Path) -> Trial:
    return Trial(TrialStore(f"{tmp_path}/sweep"), shards)


@pytest.fixture(scope="module")
def undisturbed(
    shards: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The history of a trial of two folds that nothing interrupted."""
    whole = Trial(TrialStore(f"{tmp_path_factory.mktemp('whole')}/sweep"), shards)
    return timeless(whole.start().history)


BOTH = [("fold-0", 1), ("fold-0", 2), ("fold-1", 1), ("fold-1", 2)]


def test_each_fold_is_a_run_of_its_own_and_the_first_ones_weights_are_kept(
    trial: Trial, tmp_path: Path
) -> None:
    directory = Path(trial.store.directory(NAME))
    resumable: list[set[str]] = []
    record = trial.start(
        lambda *_: resumable.append(
            {str(one.parent.relative_to(directory)) for one in directory.rglob("trainer_state.pt")}
        )
    )
    assert resumable == [{f"{run}/epoch-{epoch:06d}"} for run, epoch in BOTH]  # the newest alone
    assert (record.state, trial.trained) == ("finished", BOTH)
    assert [(one["epoch"], one["fold"]) for one in record.history] == [
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 1),
    ]
    alone: list[list[dict[str, Any]]] = []
    for settings in trial.runs:  # each fold by itself, as a run without a sweep
        context = LocalContext(tmp_path / settings.name)
        alone.append(train(settings, streams(settings), FOUR, context).history)
    expected = [
        {**epoch, "epoch": epoch["epoch"] + 2 * fold, "fold": fold}
        for fold, history in enumerate(alone)
        for epoch in history
    ]
    assert timeless(record.history) == timeless(expected)
    assert record.score == sum(max(one["score"] for one in history) for history in alone) / 2
    assert not any(name.startswith("fold-0") for name in trial.files())
    _, manifest = load_checkpoint(trial.store.weights(NAME))
    assert (manifest.epoch, manifest.score) == (
        best_epoch(alone[0])["epoch"],
        max(one["score"] for one in alone[0]),
    )
    assert manifest.data["ier"].plan.val_fold == 1
    trial.store.tidy(record, keep_weights=True)
    assert trial.files() == {"best"}
    trial.store.tidy(record, keep_weights=False)
    assert trial.files() == set()


def test_one_fold_is_the_trial_itself(shards: dict[str, str], tmp_path: Path) -> None:
    trial = Trial(TrialStore(f"{tmp_path}/sweep"), shards, folds=1)
    record = trial.start()
    assert trial.trained == [(NAME, 1), (NAME, 2)]
    assert [one["epoch"] for one in record.history] == [1, 2]
    assert all("fold" not in one for one in record.history)
    assert not list(Path(trial.store.directory(NAME)).glob("fold-*"))
    assert not (Path(trial.store.directory(NAME)) / "finished").exists()


@pytest.mark.parametrize(
    ("run", "epoch"), [("fold-0", 1), ("fold-0", 2), ("fold-1", 1), ("fold-1", 2)]
)
def test_a_trial_killed_in_any_fold_trains_no_epoch_twice(
    trial: Trial, undisturbed: list[dict[str, Any]], run: str, epoch: int
) -> None:
    with pytest.raises(Killed):
        trial.start(at(run, epoch))
    assert trial.store.read(NAME).state == "unfinished"
    record = trial.start()
    assert (record.state, trial.trained) == ("finished", BOTH)
    assert timeless(record.history) == undisturbed


def test_a_trial_killed_between_two_folds_goes_on_with_the_second(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is finished, and its checkpoints are not yet deleted."""

    def killed(run: str) -> None:
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr("ier_ray.tuning.trials.delete_checkpoints", killed)
        with pytest.raises(Killed):
            trial.start()
    assert trial.trained == BOTH[:2]
    record = trial.start()
    assert trial.trained == BOTH
    trial.store.tidy(record, keep_weights=True)
    assert trial.files() == {"best"}


def test_the_scheduler_compares_running_means_in_folds_times_epochs(
    shards: dict[str, str], tmp_path: Path
) -> None:
    """Rung 1 is in the first fold, 3 in the second."""
    trial = Trial(TrialStore(f"{tmp_path}/sweep"), shards, halving=Halving(1, 3, 4))
    record = trial.start()
    assert (record.state, record.time) == ("finished", 4)
    rungs = Path(trial.store.location, "rungs")
    left = {int(one.parent.name): float(one.name.split("=")[1]) for one in rungs.glob("*/*")}
    assert left == {rung: running_mean(record.history[:rung]) for rung in (1, 3)}


@pytest.mark.parametrize("rung", [1, 2, 3])
def test_a_trial_behind_at_a_rung_ends_there_and_stays_ended(
    shards: dict[str, str], tmp_path: Path, rung: int
) -> None:
    """Rung 2 is between the two folds."""
    trial = Trial(TrialStore(f"{tmp_path}/sweep"), shards, halving=Halving(rung, 4, 4))
    trial.store.reach(rung, trial_name(1), 2.0)
    for _ in range(2):
        record = trial.start()
        assert (record.state, record.time, len(record.history)) == ("stopped", rung, rung)
        assert len(trial.trained) == rung
    _, manifest = load_checkpoint(trial.store.weights(NAME))
    assert manifest.score == max(one["score"] for one in record.history[:EPOCHS])
    trial.store.tidy(record, keep_weights=True)
    assert trial.files() == {"best"}


def test_an_error_that_would_be_met_again_ends_the_trial_in_whatever_fold(trial: Trial) -> None:
    record = trial.start(at("fold-1", 1, TrainingError("diverged")))
    assert (record.state, record.error) == ("failed", "diverged")
    trial.store.tidy(record, keep_weights=False)
    assert trial.files() == set()


def test_an_error_that_may_pass_leaves_the_trial_unfinished(trial: Trial) -> None:
    with pytest.raises(LostWorkersError):
        trial.start(at("fold-0", 1, LostWorkersError("a node died")))
    assert not trial.store.read(NAME).ended


def test_a_fold_that_ended_early_is_at_all_rungs_up_to_the_next(tmp_path: Path) -> None:
    """Of eight epochs it trained two, and nothing was asked after the second."""
    store = TrialStore(str(tmp_path))
    history = [{"epoch": i + 1, "score": s, "fold": 0} for i, s in enumerate((0.5, 0.25))]
    record = TrialRecord(name=NAME, point={}, history=history)
    store.write(record)
    log = TrialLog(store, record, Halving(1, 2, 16), fold=1, start=8)
    assert not log.should_not_begin()
    left = {int(one.parent.name): one.name for one in Path(tmp_path, "rungs").glob("*/*")}
    assert left == dict.fromkeys((2, 4, 8), "trial-0000=0.5")
    store.reach(4, trial_name(1), 0.75)
    assert log.should_not_begin()
    for _ in range(2):  # trained again, after its checkpoint was lost
        log.add({"epoch": 1, "score": 0.0})
    assert not log.should_not_begin()  # it has begun
    assert [(one["epoch"], one["fold"]) for one in log.record.history] == [(1, 0), (2, 0), (9, 1)]
    assert log.trained == [{"epoch": 1, "score": 0.0, "fold": 1}]
    assert log.run_name == "trial-0000-fold-1"
