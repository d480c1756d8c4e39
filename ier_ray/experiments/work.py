"""Runs a unit of work in this process and stores its result."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from ier_ray import storage
from ier_ray.cluster.connection import quiet_data
from ier_ray.cluster.evaluation import Rows, predict
from ier_ray.cluster.failures import for_the_user, in_one_line
from ier_ray.cluster.logs import show_in_job
from ier_ray.cluster.trainer import TrainResult, run_training
from ier_ray.data.parts import TEST
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import ExecuteReads
from ier_ray.errors import IerRayError
from ier_ray.evaluation.metrics import measure
from ier_ray.evaluation.predictions import Predictions
from ier_ray.experiments.controls import control_predictions
from ier_ray.experiments.costing import measured_costs
from ier_ray.experiments.hardware import hardware, peak_memory
from ier_ray.experiments.in_process import predictions_of_tests, train_in_process
from ier_ray.experiments.memory_reads import MemoryReads
from ier_ray.experiments.store import UnitStore
from ier_ray.experiments.units import Unit, UnitResult
from ier_ray.extras import optional_library

logger = logging.getLogger(__name__)

Done = tuple[dict[str, float | None], Predictions | None]
"""What a unit measured, and what its network predicted."""
MIB = 2**20
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier", "majority_share")


class Worker:
    """Runs units one after the other; keeps decoded images in memory between them.

    Args:
        store: where results go.
        threads: of torch; None: as many as it chooses.
    """

    def __init__(self, store: UnitStore, threads: int | None) -> None:
        show_in_job()
        quiet_data()
        logging.getLogger().setLevel(logging.WARNING)
        if threads is not None:
            torch.set_num_threads(threads)
        self.store = store
        self.reads = MemoryReads()

    def run(self, unit: Unit) -> UnitResult:
        """The result of a unit, stored before it is returned; errors are results, too."""
        started, used = time.perf_counter(), time.process_time()
        try:
            with peak_memory() as peaks:
                measures, predictions = RUNNERS[unit.kind](unit, self.store, self.reads)
            if unit.kind == "training" and unit.in_process:
                peak = peaks.get("peak_gpu_bytes", peaks.get("peak_resident_bytes"))
                measures["peak_mib"] = None if peak is None else peak / MIB
            result = UnitResult.of(
                unit, measures=measures, hardware={**hardware(), **peaks}, rows=counted(predictions)
            )
        except Exception as error:  # noqa: BLE001 (a cell that fails must not end the others)
            predictions, result = None, failed(unit, error)
        spent = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - used,
        }
        result = result.model_copy(update=spent)
        self.store.write(result, predictions)
        return result


def failed(unit: Unit, error: BaseException) -> UnitResult:
    """The result of a unit that an error ended."""
    known = error if isinstance(error, IerRayError) else for_the_user(error)
    reason = str(known) if known is not None else in_one_line(error)
    return UnitResult.of(unit, failed=" ".join(reason.split()))


def counted(predictions: Predictions | None) -> dict[str, int]:
    """Number of predicted rows, if any."""
    return {} if predictions is None else {"test": len(predictions)}


def run_trained(unit: Unit, store: UnitStore, reads: ExecuteReads) -> Done:
    """Train, and predict the IER test rows."""
    if unit.in_process:
        with tempfile.TemporaryDirectory(prefix="ier_ray-cell-") as directory:
            progress, checkpoint = train_in_process(unit.train, Path(directory), reads)
            predictions = predictions_of_tests(
                checkpoint, unit.train, reads, network=unit.tested, on="ier", run=unit.key
            )
        history = progress.history
    else:
        result = run_training(located(unit, store))
        history = result.history
        predictions = predictions_of_run(unit, result)
    epochs = [record["seconds"] for record in history]
    best = max(history, key=lambda record: (record["score"], record["epoch"]))
    return {
        **figures(predictions),
        "best_epoch": best["epoch"],
        "epochs": len(history),
        "epoch_seconds": median(epochs[1:] or epochs),
    }, predictions


def predictions_of_run(unit: Unit, result: TrainResult) -> Predictions:
    """Predictions of a Ray Train run on the IER test rows, by the tested network."""
    if unit.tested == "ier":
        kept = Predictions.read(result.predictions)
        return kept.select((kept.domains == "ier") & (kept.parts == "test"))
    shards = ShardSet.open(unit.train.data.location("ier"))
    test = SplitIndex.read(shards, unit.train.split_plan("ier")).test
    parts, seen = np.full(len(test), TEST, dtype=np.int8), np.zeros(len(test), dtype=bool)
    rows = Rows(unit.tested, shards, test, parts, seen)
    return predict(result.checkpoint, [rows], run=unit.key)[0]


def located(unit: Unit, store: UnitStore) -> Any:
    """The settings of a unit's Ray Train run, which has a directory of its own."""
    place = {"storage": storage.join(store.location, "runs"), "name": unit.key}
    return unit.train.model_copy(update=place)


def run_control(unit: Unit, store: UnitStore, reads: ExecuteReads) -> Done:  # noqa: ARG001
    """Fit and test a control."""
    predictions = control_predictions(str(unit.method), unit.train, reads, run=unit.key)
    return figures(predictions), predictions


def run_explainer(unit: Unit, store: UnitStore, reads: ExecuteReads) -> Done:  # noqa: ARG001
    """Measure an explainer; the peers are an extra."""
    for library in ("shap", "captum"):
        optional_library(library, extra="compare", use="table1 needs")
    from ier_ray.experiments.explaining import measured_explainer  # noqa: PLC0415

    return measured_explainer(unit, reads), None


def run_costs(unit: Unit, store: UnitStore, reads: ExecuteReads) -> Done:  # noqa: ARG001
    """Measure the interpretation of an epoch."""
    return measured_costs(unit, reads), None


def figures(predictions: Predictions) -> dict[str, float | None]:
    """The metrics of a unit's predictions."""
    found = measure(predictions.probabilities, predictions.labels, predictions.classes)
    return {name: getattr(found, name) for name in FIGURES}


RUNNERS: dict[str, Callable[[Unit, UnitStore, ExecuteReads], Done]] = {
    "training": run_trained,
    "control": run_control,
    "explainer": run_explainer,
    "cost": run_costs,
}
"""What runs each kind of unit."""
