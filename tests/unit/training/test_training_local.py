"""The training loop in one process, without Ray's part in it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.runs import SAMPLES, SIZE, local_streams, run, tiny_settings
from support.streams import named, names_of_epoch

from ier_ray.data.augmentation import augment
from ier_ray.data.images import decode_rgb
from ier_ray.data.parts import SplitPlan
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import SyntheticSource
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import rebatch
from ier_ray.emotions import FOUR, EmotionScheme
from ier_ray.errors import CheckpointError, DataError, TrainingError
from ier_ray.training.checkpoint import load_checkpoint
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import on_device, train, validate
from ier_ray.training.state import start


def test_training_images_are_augmented_and_validation_images_are_not(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(shards, tmp_path, data__augment={"flip": 1.0})
    joint = next(local_streams(shards).train(0))
    device, preprocessing = torch.device("cpu"), settings.preprocessing
    mirrored = partial(augment, settings=settings.data.augment, generator=torch.Generator())
    (plain,) = on_device([joint], preprocessing, device)
    assert torch.equal(plain.fer_images, preprocessing.inputs(joint.fer.images))
    (changed,) = on_device([joint], preprocessing, device, mirrored)
    torch.testing.assert_close(changed.fer_images, plain.fer_images.flip(-1))
    torch.testing.assert_close(changed.ier_images, plain.ier_images.flip(-1))
    seen: list[torch.Tensor] = []
    state = start(settings, FOUR, LocalContext(tmp_path))
    state.model.fer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    streams = local_streams(shards)
    validate(state, settings, streams, LocalContext(tmp_path))
    held_out = next(streams.validation("fer")).images
    assert torch.equal(seen[0], preprocessing.inputs(held_out))


def test_augmented_training_repeats_by_seed(shards: dict[str, str], tmp_path: Path) -> None:
    changes = {"flip": 0.5, "crop": 0.5, "jitter": 0.5}

    def losses(name: str, **changed: Any) -> list[float]:
        settings = tiny_settings(shards, tmp_path, schedule__epochs=1, **changed)
        return [record["total"] for record in run(settings, shards, tmp_path / name)]

    first = losses("a", data__augment=changes)
    assert first == losses("b", data__augment=changes)
    assert first != losses("c")


def test_streams_are_reproducible_and_cover_the_training_folds(shards: dict[str, str]) -> None:
    def ids(epoch: int) -> list[list[str]]:
        return names_of_epoch(local_streams(shards), epoch)["ier"]

    assert ids(0) == ids(0)
    assert ids(0) != ids(1)
    trained = [name for batch in ids(0) for name in batch]
    validated, names = named(local_streams(shards))
    assert sum(len(batch.labels) for batch in validated.validation("ier")) == SAMPLES // 5
    held_out = [name for batch in names["ier"] for name in batch]
    assert len(set(trained)) == SAMPLES * 3 // 5
    assert len(held_out) == len(set(held_out)) == SAMPLES // 5
    assert not set(trained) & set(held_out)


def test_ranks_see_different_samples_in_equal_steps(shards: dict[str, str]) -> None:
    parts = [
        names_of_epoch(local_streams(shards, rank=rank, world_size=2), 0)["ier"]
        for rank in range(2)
    ]
    assert [len(part) for part in parts] == [3, 3]
    assert all(len(ids) == 16 for part in parts for ids in part)
    first, second = ({name for ids in part for name in ids} for part in parts)
    assert not first & second


def test_batches_hold_the_pixels_that_were_drawn(shards: dict[str, str]) -> None:
    source = SyntheticSource(samples=SAMPLES, size=SIZE, seed=3)
    listed = {sample.sample_id: sample for sample in source.list("fer")}
    streams, names = named(local_streams(shards))
    batch = next(streams.train(0)).fer
    for image, label, name in zip(batch.images, batch.labels, names["fer"][0], strict=True):
        drawn = decode_rgb(source.load("fer", listed[name]).image)
        np.testing.assert_array_equal(image.numpy(), np.asarray(drawn))
        assert FOUR.classes[label] == listed[name].source_label


def test_rebatch_keeps_rows_in_order() -> None:
    blocks = [{"label": np.arange(0, 5)}, {"label": np.arange(5, 6)}, {"label": np.arange(6, 13)}]
    batches = [batch["label"].tolist() for batch in rebatch(blocks, 4)]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12]]


def test_an_impossible_fold_is_named(shards: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"val_fold is 7, but .* has folds 0 to 4"):
        SplitIndex.read(ShardSet.open(shards["fer"]), SplitPlan(val_fold=7))
    with pytest.raises(DataError, match=r"test_fold is 9, but .* has folds 0 to 4"):
        SplitIndex.read(ShardSet.open(shards["fer"]), SplitPlan(test_fold=9))


def test_faces_are_learned(shards: dict[str, str], tmp_path: Path) -> None:
    settings = tiny_settings(
        shards,
        tmp_path,
        model={"image_size": SIZE, "width": 0.1},
        optimizer={"learning_rate": 2e-3, "batch_size": 16},
        schedule={"epochs": 20, "warmup_epochs": 20},
    )
    history = run(settings, shards, tmp_path)
    assert [record["epoch"] for record in history] == list(range(1, 21))
    assert history[-1]["step"] == 20 * 6
    assert history[0]["fer"] > 1.0
    assert history[-1]["fer"] < 0.6
    assert history[-1]["fer_accuracy"] > 0.45


def test_the_discrepancy_pulls_the_networks_together(
    shards: dict[str, str], tmp_path: Path
) -> None:
    """The same run with and without the term: only with it do the outputs meet."""
    ends = {}
    for balance in (1e-9, 20.0):
        settings = tiny_settings(
            shards,
            tmp_path,
            loss={"balance": balance},
            schedule={"epochs": 6, "warmup_epochs": 0},
            optimizer={"learning_rate": 1e-3, "batch_size": 16},
        )
        ends[balance] = run(settings, shards, tmp_path / str(balance))[-1]["discrepancy"]
    assert ends[20.0] < 0.5 * ends[1e-9]


def test_warm_up_is_cross_entropy_alone(shards: dict[str, str], tmp_path: Path) -> None:
    history = run(tiny_settings(shards, tmp_path), shards, tmp_path)
    assert history[0]["discrepancy"] == 0
    assert history[1]["discrepancy"] > 0
    assert history[0]["total"] == pytest.approx(history[0]["fer"] + history[0]["ier"])
    assert history[1]["total"] == pytest.approx(
        history[1]["fer"] + history[1]["ier"] + history[1]["discrepancy"]
    )


def test_a_resumed_run_ends_exactly_as_an_undisturbed_one(
    shards: dict[str, str], tmp_path: Path
) -> None:
    def weights(directory: Path) -> dict[str, torch.Tensor]:
        return load_checkpoint(str(directory / "last"))[0].state_dict()

    dropout = {"image_size": SIZE, "width": 0.02, "dropout": 0.3}
    whole = tiny_settings(shards, tmp_path, model=dropout, schedule__epochs=3)
    half = tiny_settings(shards, tmp_path, model=dropout, schedule__epochs=1)
    undisturbed = run(whole, shards, tmp_path / "whole")
    run(half, shards, tmp_path / "stopped")
    resumed = run(whole, shards, tmp_path / "stopped")
    assert [record["epoch"] for record in resumed] == [1, 2, 3]
    assert resumed[-1]["step"] == undisturbed[-1]["step"]
    for name, tensor in weights(tmp_path / "whole").items():
        torch.testing.assert_close(
            weights(tmp_path / "stopped")[name], tensor, rtol=0, atol=0, msg=name
        )


def test_a_checkpoint_of_other_classes_cannot_be_resumed(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(shards, tmp_path, schedule__epochs=1)
    run(settings, shards, tmp_path)
    renamed = EmotionScheme("mine", ("joy", "grief", "hate", "anger"))
    with pytest.raises(CheckpointError, match=r"trained on classes \['happy'.*'joy'"):
        train(settings, local_streams(shards), renamed, LocalContext(tmp_path))


def test_a_loss_that_is_not_finite_stops_the_run(shards: dict[str, str], tmp_path: Path) -> None:
    settings = tiny_settings(shards, tmp_path, optimizer={"learning_rate": 1e18, "batch_size": 16})
    with pytest.raises(TrainingError, match=r"not finite .* lower optimizer.learning_rate"):
        run(settings, shards, tmp_path)
