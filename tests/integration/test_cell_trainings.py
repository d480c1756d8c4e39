"""Trainings inside an experiment's worker, without a cluster: those of the training loop."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.runs import run, tiny_settings

from ier_ray.data.streams import read_locally
from ier_ray.experiments.in_process import BestContext, predictions_of_tests, train_in_process
from ier_ray.experiments.memory_reads import MemoryReads


def test_a_training_in_process_is_the_loop_s(shards: dict[str, str], tmp_path: Path) -> None:
    settings = tiny_settings(shards, tmp_path, scaling={"num_workers": 1})
    (tmp_path / "here").mkdir()
    progress, checkpoint = train_in_process(settings, tmp_path / "here", MemoryReads())
    history = run(settings, shards, tmp_path / "there")
    kept = ("total", "fer", "ier", "discrepancy", "ier_val_loss", "ier_accuracy", "score")
    for mine, other in zip(progress.history, history, strict=True):
        assert {name: mine[name] for name in kept} == {name: other[name] for name in kept}
    predict = partial(
        predictions_of_tests, checkpoint, settings, network="ier", on="ier", run="cell"
    )
    found, read = predict(MemoryReads()), predict(read_locally)
    assert np.array_equal(found.probabilities, read.probabilities)
    assert set(found.parts.tolist()) == {"test"}
    assert set(found.folds.tolist()) == {0}


def test_the_best_epoch_is_kept_and_of_equals_the_latest(
    shards: dict[str, str], tmp_path: Path
) -> None:
    context = BestContext(tmp_path)
    for epoch, score in enumerate((0.2, 0.5, 0.5, 0.4)):
        directory = tmp_path / f"epoch-{epoch}"
        directory.mkdir()
        (directory / "number").write_text(str(epoch))
        context.report({"score": score}, directory)
    assert (tmp_path / "best" / "number").read_text() == "2"


def test_the_fer_network_alone_trains_on_a_fraction_of_the_ier_images(
    shards: dict[str, str], tmp_path: Path
) -> None:
    rows = {}
    for mix in (0.0, 0.5, 1.0):
        settings = tiny_settings(
            shards,
            tmp_path,
            scaling={"num_workers": 1},
            data={**shards, "mix": mix},
            loss={"balance": 0.0},
            schedule={"epochs": 1, "warmup_epochs": 0, "networks": "fer"},
        )
        directory = tmp_path / f"mix-{mix}"
        directory.mkdir()
        reads = MemoryReads()
        _, checkpoint = train_in_process(settings, directory, reads)
        found = predictions_of_tests(
            checkpoint, settings, reads, network="fer", on="ier", run="cell"
        )
        assert set(found.domains.tolist()) == {"ier"}
        rows[mix] = json_rows(Path(checkpoint))
    own, half, all_of_it = (rows[mix] for mix in (0.0, 0.5, 1.0))
    assert own < half < all_of_it
    assert half - own == pytest.approx((all_of_it - own) / 2, abs=2)


def json_rows(checkpoint: Path) -> int:
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    assert manifest["networks"] == ["fer"]
    return int(manifest["data"]["fer"]["rows"]["train"])
