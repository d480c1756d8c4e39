"""Normalization by hand; the network gets the same input from every part of the program."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fastapi import Request
from support.checkpoints import manifest_of
from support.runs import SIZE, tiny_settings
from torch import Tensor, nn

from ier_ray import storage
from ier_ray.data.augmentation import AugmentSettings, augment
from ier_ray.data.captions import CaptionReader
from ier_ray.data.images import Pixels, encode_png
from ier_ray.data.parts import SplitPlan
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.samples import images_from_files, images_from_shards
from ier_ray.data.schema import SHARD_SCHEMA, Manifest, ShardFile
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalization
from ier_ray.emotions import FOUR
from ier_ray.explain.masking import Masking
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.serve.decoding import Decoder
from ier_ray.serve.uploads import read_upload
from ier_ray.training.loop import on_device

CPU = torch.device("cpu")
PHOTOGRAPH = encode_png(np.random.default_rng(5).integers(0, 255, (41, 57, 3), dtype=np.uint8))
"""Neither square nor of the network's size."""


def test_per_image_normalization_has_zero_mean_and_unit_variance() -> None:
    pixels = torch.randint(0, 255, (3, 16, 16, 3), dtype=torch.uint8)
    images = Preprocessing(16).inputs(pixels)
    torch.testing.assert_close(images.mean((1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    spread = images.std((1, 2, 3), correction=0)
    torch.testing.assert_close(spread, torch.ones(3), atol=1e-5, rtol=0)


def test_flat_image_stays_finite() -> None:
    flat = torch.full((1, 4, 4, 3), 77, dtype=torch.uint8)
    assert Preprocessing(4).inputs(flat).abs().max() < 1e-2


def test_imagenet_normalization_by_hand() -> None:
    pixels = torch.full((1, 2, 2, 3), 51, dtype=torch.uint8)
    expected = [(0.2 - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    found = Preprocessing(2, "imagenet").inputs(pixels)[0, :, 0, 0]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_images_are_augmented_before_they_are_normalized() -> None:
    pixels = torch.randint(0, 255, (2, 8, 8, 3), dtype=torch.uint8)
    found = Preprocessing(8).inputs(pixels, augment=lambda images: images / 2 + 0.25)
    torch.testing.assert_close(found, Preprocessing(8).inputs(pixels), atol=1e-5, rtol=0)


def test_token_ids_stay_as_they_are() -> None:
    tokens = torch.tensor([[2, 7, 3, 0]])
    settings = AugmentSettings(flip=1.0, jitter=0.5)
    change = partial(augment, settings=settings, generator=torch.Generator())
    preprocessing = Preprocessing(32, reads_captions=True)
    assert preprocessing.inputs(tokens, augment=change) is tokens
    assert isinstance(preprocessing.reader(("a.parquet",), FOUR.classes), CaptionReader)


def test_the_baseline_is_normalized_with_the_statistics_of_its_image() -> None:
    pixels = torch.randint(0, 255, (8, 8, 3), dtype=torch.uint8)
    preprocessing = Preprocessing(8)
    image, same = preprocessing.image_and_baseline(pixels, lambda original: original)
    assert torch.equal(same, image)
    _, black = preprocessing.image_and_baseline(pixels, torch.zeros_like)
    unit = pixels.float() / 255
    expected = -unit.mean() / unit.std(correction=0)
    torch.testing.assert_close(black, torch.full_like(black, float(expected)))
    normalized, zero = preprocessing.image_and_baseline(pixels, None)
    assert torch.equal(normalized, image)
    assert torch.equal(zero, torch.zeros_like(image))


def write_shard_set(location: str) -> str:
    """The photograph three times: in the test, validation and training part."""
    rows = [
        dict.fromkeys(SHARD_SCHEMA.names)
        | {"image": PHOTOGRAPH, "label": "sad", "sample_id": f"photograph-{fold}", "fold": fold}
        | {"group": f"photograph-{fold}", "pixel_hash": fold}
        for fold in range(3)
    ]
    Path(location).mkdir()
    pq.write_table(pa.Table.from_pylist(rows, SHARD_SCHEMA), f"{location}/0.parquet")
    manifest = Manifest(
        domain="ier",
        datasets=["album"],
        scheme=FOUR.name,
        classes=list(FOUR.classes),
        folds=3,
        seed=0,
        listed=3,
        rows=3,
        counts={"sad": [1, 1, 1]},
        dropped={},
        quarantined=[],
        shards=[ShardFile(file="0.parquet", rows=3, sha256="")],
        content_hash="album",
        request_hash="",
    )
    storage.write_json(f"{location}/manifest.json", manifest.model_dump(mode="json"))
    return location


class Shared(list[Tensor]):
    """A list that copies of its owner share: explanations run a copy of the network."""

    def __deepcopy__(self, _: object) -> Shared:
        return self


class Recording(nn.Module):
    """Records its inputs. It cannot be traced, so that explanations give it whole images."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Shared()

    def forward(self, images: Tensor) -> Tensor:
        if not images.isfinite().all():
            raise ValueError("not finite")
        self.seen.append(images.clone())
        return images.flatten(1)[:, :4]


def uploaded(preprocessing: Preprocessing) -> np.ndarray:
    """The photograph as the service reads it from a request."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": PHOTOGRAPH, "more_body": False}

    request = Request({"type": "http", "headers": []}, receive)
    decoder = Decoder(preprocessing, max_pixels=10**6, pixels_at_once=10**6)

    async def decoded() -> Pixels:
        return await decoder.decode(await read_upload(request, max_bytes=10**6))

    return asyncio.run(decoded())


@pytest.mark.parametrize("normalization", ["per_image", "imagenet"])
def test_training_evaluation_serving_and_explaining_show_the_network_the_same_input(
    tmp_path: Path, normalization: Normalization
) -> None:
    location = write_shard_set(str(tmp_path / "shards"))
    shards = ShardSet.open(location)
    settings = tiny_settings(
        {"fer": location, "ier": location}, tmp_path, data__normalization=normalization
    )
    network = Recording().eval()
    manifest = manifest_of(settings.model, normalization=normalization)
    recognizer = Recognizer(nn.ModuleDict({"ier": network}), manifest, CPU)

    split = SplitIndex.read(shards, SplitPlan())
    streams = JointStreams(split, split, settings.preprocessing, batch_size=2, seed=0)
    (trained,) = on_device(streams.train(0), settings.preprocessing, CPU)
    expected = trained.ier_images[0]
    assert expected.shape == (3, SIZE, SIZE)
    assert torch.equal(trained.fer_images[1], expected)

    reader = manifest.preprocessing.reader(shards.files, shards.scheme.classes)
    zeros, both = np.zeros(2, dtype=np.int32), np.arange(2, dtype=np.int32)
    (rows,) = reader.read({"file": zeros, "row_group": zeros, "row": both})
    recognizer.probabilities(rows["image"].astype(np.uint8, copy=False))
    evaluated = network.seen.pop()[1]

    recognizer.probabilities(np.stack([uploaded(manifest.preprocessing)]))
    (served,) = network.seen.pop()

    storage.write_bytes(str(tmp_path / "photograph.png"), PHOTOGRAPH)
    (named,) = images_from_files(
        [str(tmp_path / "photograph.png")], preprocessing=manifest.preprocessing
    )
    (stored,) = images_from_shards(
        shards, per_class=1, fold=0, preprocessing=manifest.preprocessing
    )
    np.testing.assert_array_equal(stored.pixels, named.pixels)
    evaluator = recognizer.evaluator(named.pixels, ExplainerSettings())
    assert evaluator.inference.startswith("dense")
    evaluator(Masking(np.array([[0, SIZE, 0, SIZE]]), np.array([True])))
    (explained,) = network.seen.pop()

    for name, found in (("evaluated", evaluated), ("served", served), ("explained", explained)):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("architecture", ["emotion_net", "caption_bert"])
@pytest.mark.parametrize("normalization", ["per_image", "imagenet"])
def test_a_checkpoint_keeps_the_preprocessing_of_its_training(
    tmp_path: Path, architecture: str, normalization: Normalization
) -> None:
    settings = tiny_settings(
        {"fer": "a", "ier": "b"},
        tmp_path,
        model={"architecture": architecture, "image_size": 64},
        data__normalization=normalization,
    )
    manifest = manifest_of(settings.model, normalization=settings.data.normalization)
    assert manifest.preprocessing == settings.preprocessing
    assert settings.preprocessing == Preprocessing(
        64, normalization, reads_captions=architecture == "caption_bert"
    )
