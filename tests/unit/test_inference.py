"""Probabilities of images by a checkpoint's networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.checkpoints import manifest_of
from support.engines import Waiting
from torch import nn

from ier_ray.data.provenance import SeenRows
from ier_ray.errors import CheckpointError
from ier_ray.explain.engine import Engine
from ier_ray.explain.masking import Masking
from ier_ray.explainer_settings import ExplainerSettings, Precision
from ier_ray.inference import Recognizer
from ier_ray.models import ModelSettings, build_joint_model, build_network
from ier_ray.serve.engine_jobs import EngineJobs
from ier_ray.training.checkpoint import read_checkpoint_manifest, save_checkpoint

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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_job_of_the_engine_is_the_explanation_of_the_evaluator(precision: Precision) -> None:
    model, engine = recognizer(), Engine()
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    settings = ExplainerSettings(depth=3, baseline="mean", score="logit", precision=precision)
    expected = settings.explainer().explain(model.evaluator(pixels, settings))
    waiting = Waiting()
    engine.submit(EngineJobs(model).explanation(pixels, settings), waiting)
    found = waiting.explanation()
    tolerance = 1e-5 if precision == "float32" else 0.05
    np.testing.assert_allclose(found.credits, expected.credits, atol=tolerance)
    assert found.inference == expected.inference
    engine.stop()


def test_the_masked_images_of_another_replica_get_their_logits() -> None:
    model, engine = recognizer(), Engine()
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    settings = ExplainerSettings(score="probability")
    masking = Masking(np.array([[0, 32, 0, 16], [4, 9, 3, 30]]), np.array([True, False]))
    waiting = Waiting()
    engine.submit(EngineJobs(model).scores(pixels, settings, masking), waiting)
    expected = model.evaluator(pixels, ExplainerSettings(score="logit"))(masking)
    np.testing.assert_allclose(np.asarray(waiting.done().result), expected, atol=1e-5)
    engine.stop()


def test_only_the_weights_that_were_asked_for_are_loaded(tmp_path: Path) -> None:
    location = str(tmp_path / "checkpoint")
    model = build_joint_model(MODEL, num_classes=4).eval()
    save_checkpoint(Path(location), model, manifest_of(MODEL), {}, SeenRows.none())
    weights = read_checkpoint_manifest(location).weights_sha256
    assert Recognizer.load(location, weights_sha256=weights).manifest.weights_sha256 == weights
    with pytest.raises(CheckpointError, match=f"the weights are {weights} now, wanted are abc: "):
        Recognizer.load(location, weights_sha256="abc")
