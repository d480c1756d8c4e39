"""Distributed training on a real cluster: results, faults, resuming."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from support.runs import EPOCHS, STEPS, local_streams, tiny_settings
from support.streams import named
from support.tensorboard import read_scalars

from ier_ray import storage
from ier_ray.cluster.evaluation import choose_rows
from ier_ray.cluster.streams import read_on_cluster
from ier_ray.cluster.trainer import TrainResult, make_trainer, run_training
from ier_ray.data.streams import JointBatch
from ier_ray.errors import CapacityError, CheckpointError, DataError, SettingsError, TrainingError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.summary import evaluate_predictions
from ier_ray.inference import Recognizer
from ier_ray.training.checkpoint import load_trainer_state, read_checkpoint_manifest

pytestmark = pytest.mark.alone


def test_reading_on_the_cluster_gives_the_same_batches_as_reading_here(
    shards: dict[str, str],
) -> None:
    here = local_streams(shards, rank=1, world_size=2)
    there = replace(here, execute=partial(read_on_cluster, ahead=2))
    (here, named_here), (there, named_there) = named(here), named(there)

    def content(batches: Iterator[JointBatch]) -> list[Any]:
        return [
            (b.images.numpy(), b.labels.tolist())
            for joint in batches
            for b in (joint.fer, joint.ier)
        ]

    for mine, theirs in zip(content(here.train(3)), content(there.train(3)), strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
        assert mine[1:] == theirs[1:]
    for streams in (here, there):
        assert sum(len(batch.labels) for batch in streams.validation("fer")) == 16
    assert named_here == named_there


def test_a_run_leaves_its_best_and_last_checkpoints(trained: TrainResult) -> None:
    assert (trained.epochs, trained.steps) == (EPOCHS, STEPS)
    assert [record["epoch"] for record in trained.history] == list(range(1, EPOCHS + 1))
    best = max(trained.history, key=lambda r: (r["ier_accuracy"], r["epoch"]))
    assert trained.best_epoch == best["epoch"]
    assert trained.metrics["ier_accuracy"] == best["ier_accuracy"]
    assert sorted(p.name for p in Path(trained.checkpoint).iterdir()) == [
        "manifest.json",
        "model.safetensors",
        "seen.parquet",
    ]
    assert read_checkpoint_manifest(trained.checkpoint).epoch == best["epoch"]
    last = load_trainer_state(trained.last_checkpoint)
    assert (last["epoch"], last["step"]) == (EPOCHS, STEPS)
    assert storage.read_json(f"{trained.run}/history.json") == trained.history
    kept = list(Path(trained.run).glob("checkpoint_*/manifest.json"))
    assert len(kept) == len({best["epoch"], EPOCHS})


def test_one_network_alone_is_trained_evaluated_and_nothing_else(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(
        {"fer": shards["fer"]},
        tmp_path,
        loss={"balance": 0},
        schedule={"networks": "fer", "epochs": 2},
    )
    result = run_training(settings)
    assert set(result.metrics) == {"fer_val_loss", "fer_accuracy"}
    best = max(result.history, key=lambda r: (r["fer_accuracy"], r["epoch"]))
    assert result.best_epoch == best["epoch"]
    kept = Predictions.read(result.predictions)
    found = evaluate_predictions(kept, domain="fer", part="val")
    assert found.accuracy == pytest.approx(best["fer_accuracy"])
    assert set(result.test) == set(kept.domains) == {"fer"}
    manifest = read_checkpoint_manifest(result.checkpoint)
    with pytest.raises(CheckpointError, match=r"holds the fer network alone .* no ier network"):
        choose_rows(result.checkpoint, manifest, shards["ier"], domain="ier", parts=["all"])


def test_a_run_is_in_tensorboard_as_in_its_history(trained: TrainResult) -> None:
    found = read_scalars(f"{trained.run}/tensorboard")
    for tag, name in (
        ("training/total", "total"),
        ("training/images_per_s", "images_per_s"),
        ("validation/ier_val_loss", "ier_val_loss"),
        ("validation/fer_accuracy", "fer_accuracy"),
    ):
        expected = [(record["epoch"], record[name]) for record in trained.history]
        assert [epoch for epoch, _ in found[tag]] == [epoch for epoch, _ in expected]
        np.testing.assert_allclose(found[tag], expected, rtol=1e-6)


def test_evaluation_agrees_with_training_and_with_a_forward_pass(
    trained: TrainResult, shards: dict[str, str]
) -> None:
    recognizer = Recognizer.load(trained.checkpoint, device="cpu")
    kept = Predictions.read(trained.predictions)
    for domain in ("fer", "ier"):
        found = evaluate_predictions(kept, domain=domain, part="val")
        truth, predicted = [], []
        for batch in local_streams(shards).validation(domain):
            truth += batch.labels.tolist()
            scores = recognizer.probabilities(batch.images.numpy(), domain=domain)
            predicted += scores.tolist()
        assert found.accuracy == pytest.approx(trained.metrics[f"{domain}_accuracy"])
        rows = kept.select((kept.domains == domain) & (kept.parts == "val"))
        assert rows.labels.tolist() == truth
        np.testing.assert_allclose(rows.probabilities, predicted, rtol=1e-5, atol=1e-7)
        assert rows.seen.all()
        assert found.samples == 32
        assert trained.test[domain] == evaluate_predictions(kept, domain=domain, part="test")
        assert trained.test[domain].samples == 32
        assert trained.test[domain].seen == 0


def test_other_settings_do_not_continue_a_run(trained: TrainResult, shards: dict[str, str]) -> None:
    storage_path = Path(trained.run).parent
    changed = tiny_settings(shards, storage_path, loss={"balance": 0.5})
    with pytest.raises(
        SettingsError,
        match=r"run 'run' exists .* loss.balance was 1.0, is 0.5\. Give another --name",
    ):
        run_training(changed)


def test_what_can_never_fit_is_refused_before_anything_starts(
    shards: dict[str, str], tmp_path: Path
) -> None:
    greedy = tiny_settings(shards, tmp_path, scaling={"num_workers": 5})
    told = r"needs 5\.9 CPUs .* has 5 .* lower scaling.num_workers"
    with pytest.raises(CapacityError, match=told):
        run_training(greedy)
    gpu = tiny_settings(shards, tmp_path, scaling={"use_gpu": True})
    if not ray.cluster_resources().get("GPU"):
        with pytest.raises(CapacityError, match="1 GPUs"):
            run_training(gpu)
    assert not any(tmp_path.iterdir())


def test_an_autoscaler_gets_minutes_to_bring_nodes(
    shards: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
    make_trainer(tiny_settings(shards, tmp_path))
    assert os.environ[variable] == "30"  # what the user set stands
    monkeypatch.delenv(variable)
    make_trainer(tiny_settings(shards, tmp_path))
    assert int(os.environ[variable]) >= 600


def test_bad_data_is_refused_before_anything_starts(shards: dict[str, str], tmp_path: Path) -> None:
    swapped = {"fer": shards["ier"], "ier": shards["fer"]}
    with pytest.raises(SettingsError, match=r"data\.fer is .* a shard set of domain 'ier'"):
        run_training(tiny_settings(swapped, tmp_path))
    with pytest.raises(DataError, match="no shard set here"):
        run_training(tiny_settings({**shards, "ier": f"{tmp_path}/x"}, tmp_path))
    assert not any(tmp_path.iterdir())


def test_a_diverging_run_is_not_retried(shards: dict[str, str], tmp_path: Path) -> None:
    settings = tiny_settings(
        shards,
        tmp_path,
        optimizer={"learning_rate": 1e18, "batch_size": 8},
        scaling={"num_workers": 1},
    )
    with pytest.raises(TrainingError, match="epoch 1: the loss is not finite"):
        run_training(settings)
