"""Features of a frozen trunk: the same training, and no image is computed twice."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.runs import SIZE, local_streams, run, tiny_settings
from support.streams import names_of_epoch

from ier_ray.data.balancing import hash_ids
from ier_ray.emotions import FOUR
from ier_ray.models import EmotionNet, ModelSettings, build_network
from ier_ray.models.classifier import DividedClassifier
from ier_ray.training.checkpoint import load_checkpoint
from ier_ray.training.context import LocalContext
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import start

FROZEN = {"learning_rate": 1e-3, "batch_size": 16, "trunk_factor": 0}
EQUAL = {"epochs": 2, "warmup_epochs": 1, "ier_start": "fer"}


def frozen(shards: dict[str, str], storage: Path, gib: float, **changes: Any) -> TrainSettings:
    changes = {"optimizer": FROZEN, "schedule": EQUAL} | changes
    return tiny_settings(shards, storage, scaling={"trunk_cache_gib": gib}, **changes)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images in each call of the trunk."""
    rows: list[int] = []
    plain = EmotionNet.trunk

    def counted(network: EmotionNet, images: torch.Tensor) -> torch.Tensor:
        rows.append(len(images))
        return plain(network, images)

    monkeypatch.setattr(EmotionNet, "trunk", counted)
    return rows


@pytest.mark.parametrize("architecture", ["emotion_net", "vgg16", "alexnet", "resnet"])
@pytest.mark.parametrize("size", [64, 96])
def test_a_network_is_its_head_after_its_trunk(architecture: str, size: int) -> None:
    torch.manual_seed(0)
    model = {"architecture": architecture, "image_size": size, "width": 0.1}
    network = build_network(ModelSettings.model_validate(model), num_classes=4).double().eval()
    assert isinstance(network, DividedClassifier)
    images = torch.randn(3, 3, size, size, dtype=torch.float64)
    features = network.trunk(images)
    assert features.shape[:1] == (3,)
    assert features.ndim == 2
    torch.testing.assert_close(network.head(features), network(images))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": {"discrepancy": "mcd", "supervision": "fer"}},
        {"loss": {"discrepancy": "dann", "discrepancy_gradient": "ier"}},
        {"optimizer": FROZEN | {"ema": 0.9}},
        {"data__augment": {"flip": 0.5}},
        {"model": {"architecture": "resnet", "image_size": SIZE, "width": 0.1}},
    ],
)
def test_training_is_the_same_as_without_a_cache(
    changes: dict[str, Any], shards: dict[str, str], tmp_path: Path
) -> None:
    plain = run(frozen(shards, tmp_path, 0, **changes), shards, tmp_path / "plain")
    cached = run(frozen(shards, tmp_path, 1, **changes), shards, tmp_path / "cached")
    for found, expected in zip(cached, plain, strict=True):
        for name in expected.keys() - {"seconds", "images_per_s"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-4), name
    weights = [
        load_checkpoint(f"{tmp_path}/{name}/last")[0].state_dict() for name in ("plain", "cached")
    ]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_the_trunk_sees_each_image_once(
    seen: list[int], shards: dict[str, str], tmp_path: Path
) -> None:
    run(frozen(shards, tmp_path, 1), shards, tmp_path / "run")
    images = 0
    for domain in ("fer", "ier"):
        streams = local_streams(shards)
        trained = {
            name
            for epoch in range(2)
            for batch in names_of_epoch(streams, epoch)[domain]
            for name in batch
        }
        images += len(trained) + sum(len(batch.labels) for batch in streams.validation(domain))
    assert sum(seen) == images


def test_a_full_cache_computes_the_rest_anew(
    seen: list[int], shards: dict[str, str], tmp_path: Path
) -> None:
    settings = frozen(shards, tmp_path, 1)
    cache = start(settings, FOUR, LocalContext(tmp_path / "run")).cache
    assert cache is not None
    batch = next(local_streams(shards).train(0)).ier
    expected = cache.features("ier", batch)
    assert not expected.requires_grad
    row = expected[0].nbytes
    few = replace(cache, capacity=5 * row + row // 2, held={}, bytes=0)
    seen.clear()
    for _ in range(2):
        torch.testing.assert_close(few.features("ier", batch), expected)
    assert (len(few.held), few.bytes) == (5, 5 * row)
    assert batch.keys is not None
    distinct = len(set(batch.keys.tolist()))
    assert seen == [distinct, distinct - 5]
    seen.clear()
    without_keys = replace(batch, keys=None)
    torch.testing.assert_close(few.features("ier", without_keys), expected)
    assert seen == [len(batch.labels)]


def test_features_of_mirror_images_are_kept_apart(
    seen: list[int], shards: dict[str, str], tmp_path: Path
) -> None:
    cache = start(frozen(shards, tmp_path, 1), FOUR, LocalContext(tmp_path / "run")).cache
    assert cache is not None
    batch = next(local_streams(shards).train(0)).ier
    plain = cache.features("ier", batch)
    half = torch.arange(len(batch.labels)) % 2 == 0
    mixed = cache.features("ier", batch, half)
    turned = replace(batch, images=batch.images.flip(2), keys=None)
    expected = torch.where(half[:, None], cache.features("ier", turned), plain)
    assert not torch.allclose(mixed, plain)
    torch.testing.assert_close(mixed, expected)
    seen.clear()
    torch.testing.assert_close(cache.features("ier", batch, half), mixed, rtol=0, atol=0)
    assert seen == []


def test_features_of_one_key_in_two_domains_are_kept_apart(
    shards: dict[str, str], tmp_path: Path
) -> None:
    cache = start(frozen(shards, tmp_path, 1), FOUR, LocalContext(tmp_path / "run")).cache
    assert cache is not None
    joint = next(local_streams(shards).train(0))
    alike = replace(joint.fer, keys=joint.ier.keys)
    apart = cache.features("fer", alike), cache.features("ier", joint.ier)
    assert not torch.equal(*apart)
    torch.testing.assert_close(cache.features("fer", alike), apart[0], rtol=0, atol=0)


def test_batches_carry_the_hashes_of_their_sample_ids(shards: dict[str, str]) -> None:
    streams = local_streams(shards)
    names = names_of_epoch(streams, 0)["ier"]
    for batch, ids in zip(streams.train(0), names, strict=True):
        assert batch.ier.keys is not None
        assert batch.ier.keys.dtype == torch.int64
        np.testing.assert_array_equal(batch.ier.keys.numpy().view(np.uint64), hash_ids(ids))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scaling": {"trunk_cache_gib": 0}}, "trunk_cache_gib is 0"),
        ({"data__augment": {"flip": 0.5, "crop": 0.5}}, "data.augment changes the images"),
        ({"data__mix": 0.5}, "with data.mix"),
        ({"schedule": {"epochs": 1}}, "fer and ier have different trunks"),
        (
            {"model": {"architecture": "deep_emotion", "image_size": SIZE}},
            "deep_emotion is not divided",
        ),
    ],
)
def test_a_frozen_trunk_without_a_cache_says_why(
    changes: dict[str, Any],
    reason: str,
    shards: dict[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = tiny_settings(
        shards, tmp_path, **({"optimizer": FROZEN, "schedule": EQUAL} | changes)
    )
    with caplog.at_level(logging.INFO, "ier_ray"):
        assert start(settings, FOUR, LocalContext(tmp_path / "run")).cache is None
    assert reason in caplog.text


def test_a_trained_trunk_has_no_cache(shards: dict[str, str], tmp_path: Path) -> None:
    assert start(tiny_settings(shards, tmp_path), FOUR, LocalContext(tmp_path)).cache is None
