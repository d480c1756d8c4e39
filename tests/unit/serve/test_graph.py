"""Predictions as a graph equal those of the network, or Python runs the network."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from support.checkpoints import manifest_of
from torch import Tensor, nn

from ier_ray.inference import Recognizer
from ier_ray.models import ModelSettings, build_network
from ier_ray.serve.graph import predictor

SIZE = 32
CALLS = itertools.count(1)
MODEL = ModelSettings(image_size=SIZE, width=0.05)


def recognizer(network: nn.Module) -> Recognizer:
    return Recognizer(
        nn.ModuleDict({"ier": network.eval()}), manifest_of(MODEL), torch.device("cpu")
    )


def test_a_graph_predicts_what_the_network_does_for_every_number_of_images() -> None:
    torch.manual_seed(0)
    plain = recognizer(build_network(MODEL, num_classes=4))
    predict = predictor(plain)
    assert not isinstance(predict, partial)  # it is a graph
    images = np.random.default_rng(1).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    for count in range(1, 6):
        expected = plain.probabilities(images[:count])
        np.testing.assert_allclose(predict(images[:count]), expected, atol=1e-6)
        assert predict(images[:count]).dtype == np.float64


class Odd(nn.Module):
    """Logits of images by a function that a trace cannot hold."""

    def __init__(self, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, 4)``."""
        return self.logits(images.mean((2, 3))[:, [0, 1, 2, 0]])


def by_number(means: Tensor) -> Tensor:
    return means * (2 if len(means) > 2 else 1)


def by_value(means: Tensor) -> Tensor:
    return means.flip(1) if bool(means[0, 0] > 0) else means


def by_call(means: Tensor) -> Tensor:
    return means * next(CALLS)


def refused(means: Tensor) -> Tensor:
    if torch.jit.is_tracing():  # type: ignore[attr-defined]
        raise RuntimeError("not while tracing")
    return means


@pytest.mark.parametrize(
    ("logits", "reason"),
    [
        (by_number, "might cause the trace to be incorrect"),
        (by_value, "Python boolean"),
        (by_call, "for 2 images"),
        (refused, "not while tracing"),
    ],
)
def test_a_network_that_is_no_graph_is_run_by_python(
    logits: Callable[[Tensor], Tensor], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain = recognizer(Odd(logits))
    with caplog.at_level(logging.WARNING, logger="ier_ray"):
        predict = predictor(plain)
    assert isinstance(predict, partial)
    assert predict.func == plain.probabilities
    assert reason in caplog.text
    assert "Python runs the network" in caplog.text
