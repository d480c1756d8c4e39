"""Probabilities of images by a checkpoint's networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.checkpoints import manifest_of
from torch import nn

from ier_ray.errors import CheckpointError
from ier_ray.inference import Recognizer
from ier_ray.models import ModelSettings, build_network

MODEL = ModelSettings(image_size=32, width=0.05)


def recognizer(model: ModelSettings = MODEL) -> Recognizer:
    manifest = manifest_of(model)
    torch.manual_seed(0)
    network = build_network(MODEL, num_classes=4).eval()
    return Recognizer(nn.ModuleDict({"ier": network}), manifest, torch.device("cpu"))


def test_a_flip_averages_the_probabilities_of_an_image_and_its_mirror_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
    model = recognizer()
    plain, other = model.probabilities(pixels), model.probabilities(mirrored)
    assert np.abs(plain - other).max() > 1e-3
    flipped = model.probabilities(pixels, flip=True)
    np.testing.assert_allclose(flipped, (plain + other) / 2, atol=1e-6)
    np.testing.assert_allclose(model.probabilities(mirrored, flip=True), flipped, atol=1e-6)
    np.testing.assert_allclose(flipped.sum(1), 1)


def test_captions_have_no_mirror_image() -> None:
    reader = recognizer(ModelSettings(architecture="caption_bert"))
    with pytest.raises(CheckpointError, match="caption_bert reads captions: leave it out"):
        reader.probabilities(np.zeros((1, 5), dtype=np.uint8), flip=True)
