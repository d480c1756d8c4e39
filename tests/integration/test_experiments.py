"""Experiments end to end: cells that fail, a kill in the middle, and labels that say nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import ray
from sklearn.metrics import cohen_kappa_score
from support.runs import ROOT

from ier_ray.errors import ExperimentError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.experiments.experiment import ExperimentResult, run_experiment
from ier_ray.experiments.settings import ExperimentSettings
from ier_ray.experiments.simulated_studies import ANNOTATORS, simulated_answers, study_of
from ier_ray.experiments.units import UnitResult

FAST = {"schedule.epochs": 2, "schedule.warmup_epochs": 1}
ROWS = ["Proposed", "Target only", "Majority class"]


def settings(storage: Path, **values: Any) -> ExperimentSettings:
    asked = {
        "experiment": "table2",
        "scale": "tiny",
        "storage": str(storage),
        "columns": ["IAPSa"],
        "rows": ROWS,
        "train": FAST,
        "at_once": 2,
        **values,
    }
    return ExperimentSettings.model_validate(asked)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the experiments of this module keep their stand-ins and results."""
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="module")
def finished(cluster: None, storage: Path) -> ExperimentResult:
    return run_experiment(settings(storage))


def units(storage: Path) -> dict[str, UnitResult]:
    return {
        file.stem: UnitResult.model_validate(json.loads(file.read_text()))
        for file in (storage / "units").glob("*.json")
    }


def test_the_smallest_experiment(finished: ExperimentResult, storage: Path) -> None:
    assert (finished.cells, finished.finished, finished.failed) == (3, 3, 0)
    assert (finished.units, finished.ran) == (6, 6)
    rows = pq.read_table(f"{finished.table}/table.parquet").to_pylist()
    assert [row["row"] for row in rows] == ROWS
    for row in rows:
        kept = [Predictions.read(str(storage / "units" / f"{key}.parquet")) for key in row["keys"]]
        together = Predictions.concatenated(kept)
        hits = together.probabilities.argmax(1) == together.labels
        assert row["value"] == pytest.approx(hits.mean())
        assert row["images"] == len(together) == 67  # two of three folds of 100 drawings
        assert len(set(together.sample_ids.tolist())) == 67
        assert not together.seen.any()
    assert next(row for row in rows if row["row"] == "Majority class")["value"] <= 0.3
    text = Path(finished.table, "table.md").read_text(encoding="utf-8")
    assert "scale tiny: synthetic stand-ins" in text.splitlines()[0]


def test_nothing_runs_twice(finished: ExperimentResult, storage: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in (storage / "units").iterdir()}
    again = run_experiment(settings(storage))
    assert (again.units, again.ran) == (finished.units, 0)
    # The proposed system of table 6 is that of table 2: it was trained there.
    six = run_experiment(
        settings(storage, experiment="table6", rows=["IAPSa", "Proposed"], columns=["All"])
    )
    assert (six.cells, six.finished, six.units, six.ran) == (1, 1, 1, 0)
    assert {file: file.stat().st_mtime_ns for file in (storage / "units").iterdir()} == before


def test_a_cell_that_fails_is_shown_and_the_rest_goes_on(
    finished: ExperimentResult, storage: Path
) -> None:
    asked = settings(storage, train={**FAST, "optimizer.learning_rate": 1e30})
    found = run_experiment(asked.model_copy(update={"name": "diverges"}))
    assert (found.finished, found.failed) == (1, 2)
    rows = pq.read_table(f"{found.table}/table.parquet").to_pylist()
    states = {row["row"]: (row["state"], row["reason"]) for row in rows}
    assert states["Majority class"] == ("finished", None)
    assert states["Proposed"][0] == "failed"
    assert "is not finite" in states["Proposed"][1]
    assert "is not finite" in Path(found.table, "table.html").read_text(encoding="utf-8")
    failed = sum(result.failed is not None for result in units(storage).values())
    again = run_experiment(asked.model_copy(update={"name": "diverges"}))
    assert again.ran == failed  # what caused a failure may be cured by then
    with pytest.raises(ExperimentError, match="2 of 3 cells failed, 1 are finished"):
        again.require_all()


def test_a_worker_that_dies_is_replaced(finished: ExperimentResult, storage: Path) -> None:
    asked = settings(storage, rows=["β = 0"], name="dies", at_once=1)
    with Killer() as killer:
        found = run_experiment(asked)
    assert killer.killed
    assert (found.finished, found.ran) == (1, 2)


class Killer:
    """Kills the first worker of this process's cluster that runs a unit."""

    def __init__(self) -> None:
        self.killed = False

    def __enter__(self) -> Killer:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if process.cmdline()[:1] == ["ray::Worker.run"]:
                        process.kill()
                        self.killed = True
                        return


def test_permuted_labels_are_at_chance(finished: ExperimentResult, storage: Path) -> None:
    found = run_experiment(
        settings(storage, rows=["Permuted labels"], columns=["FI", "EMOTIC"], name="permuted")
    )
    rows = pq.read_table(f"{found.table}/table.parquet").to_pylist()
    for row in rows:
        assert row["state"] == "finished"
        assert row["low"] < 0.25 < row["high"]


def test_annotators_of_the_stand_ins_are_simulated(cluster: None, storage: Path) -> None:
    found = run_experiment(
        settings(storage, experiment="table4", columns=[], rows=["IAPSa"], train={})
    )
    rows = {row["column"]: row for row in pq.read_table(f"{found.table}/table.parquet").to_pylist()}
    study = study_of(str(storage / "stand-ins" / "iapsa"))
    answers = [*simulated_answers(study)]
    given = {
        name: [answer.label for answer in answers if answer.annotator == name]
        for name in ANNOTATORS
    }
    labels = [image.label for image in study.images]
    for name, share in ANNOTATORS.items():
        right = np.mean([one == other for one, other in zip(given[name], labels, strict=True)])
        assert abs(right - share) < 3 * np.sqrt(share * (1 - share) / len(labels))
    kappas = [cohen_kappa_score(*pair) for pair in combinations(given.values(), 2)]
    assert rows["Cohen's kappa"]["value"] == pytest.approx(np.mean(kappas))
    assert rows["Images"]["value"] == len(labels) == 60


@pytest.mark.slow
def test_killed_and_resumed_without_repeating_a_finished_cell(
    finished: ExperimentResult, storage: Path
) -> None:
    asked = [
        *("table2", "--scale", "tiny", "--storage", str(storage), "--name", "killed"),
        *("--at-once", "2", "--columns", "ArtPhoto", "--rows", *ROWS, "--train", json.dumps(FAST)),
    ]
    command = [sys.executable, str(ROOT / "jobs" / "experiment.py"), *asked]
    address = ray.get_runtime_context().gcs_address
    env = {**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)}
    before = set(units(storage))
    job = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(set(units(storage)) - before) < 2:
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    time.sleep(3)  # Ray ends the workers of a dead job
    kept = {key: found for key, found in units(storage).items() if key not in before}
    assert 2 <= len(kept) < 6
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    record = json.loads(ended.stdout.splitlines()[-1])
    assert record["units"] == 6
    assert record["ran"] == 6 - len(kept)
    after = units(storage)
    assert {key: after[key] for key in kept} == kept


@pytest.mark.slow
def test_a_cell_of_several_workers_is_a_ray_train_run(
    finished: ExperimentResult, storage: Path
) -> None:
    asked = settings(
        storage,
        rows=["Target only", "Majority class"],
        columns=["FI"],
        folds=1,
        name="nested",
        scaling={"num_workers": 2, "cpus_per_worker": 0.5},
    )
    found = run_experiment(asked)
    assert (found.cells, found.finished, found.failed) == (2, 2, 0)
    rows = pq.read_table(f"{found.table}/table.parquet").to_pylist()
    (key,) = next(row["keys"] for row in rows if row["row"] == "Target only")
    assert (storage / "units" / "runs" / key / "best" / "manifest.json").exists()
    kept = Predictions.read(str(storage / "units" / f"{key}.parquet"))
    assert set(kept.parts.tolist()) == {"test"}


@pytest.mark.slow
def test_the_fer_network_of_several_workers_is_tested_on_ier_images(
    finished: ExperimentResult, storage: Path
) -> None:
    asked = settings(
        storage,
        experiment="table5",
        rows=["FI", "FER13"],
        columns=["0.5"],
        name="mixed",
        train={**FAST, "schedule.epochs": 1},
        scaling={"num_workers": 2, "cpus_per_worker": 0.5},
    )
    found = run_experiment(asked)
    assert (found.cells, found.finished) == (1, 1)
    (row,) = pq.read_table(f"{found.table}/table.parquet").to_pylist()
    kept = Predictions.read(str(storage / "units" / f"{row['keys'][0]}.parquet"))
    assert set(kept.domains.tolist()) == {"ier"}
    assert row["images"] == len(kept)
