"""Predictions as one TorchScript graph, which computes a batch without the interpreter's lock.

Otherwise every operation of the network takes the lock when it returns, and waits for the event
loop that holds it meanwhile: under load, a batch of a small network takes three times as long.
"""

import logging
import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ier_ray.explain.networks import FORWARD, agree
from ier_ray.inference import Recognizer

logger = logging.getLogger(__name__)

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Class probabilities ``(N, K)`` of images ``(N, S, S, 3)``."""
RUNS = 3
"""Of each batch size in the comparison: TorchScript optimizes a graph after its first run."""


class Pipeline(nn.Module):
    """Class probabilities ``(N, K)`` of images ``(N, S, S, 3)`` uint8."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.network = recognizer.networks["ier"]
        self._inputs = recognizer.manifest.preprocessing.inputs

    def forward(self, images: Tensor) -> Tensor:
        """As :meth:`Recognizer.probabilities`."""
        found: Tensor = self.network(self._inputs(images)).double().softmax(1).cpu()
        return found


def predictor(recognizer: Recognizer, *, max_batch_size: int) -> Predict:
    """The recognizer's predictions of up to so many images, as a graph where that is possible.

    Where a graph computes something else, because what a network does depends on the values or the
    number of images, Python runs the network, and the log says so.
    """
    size = recognizer.manifest.model.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (max_batch_size, size, size, 3), np.uint8)
    images = torch.from_numpy(pixels).to(recognizer.device)
    with torch.no_grad(), FORWARD:
        graph = traced(Pipeline(recognizer).eval(), images)
    if graph is None:
        return recognizer.probabilities

    @torch.inference_mode()
    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = graph(torch.from_numpy(batch).to(recognizer.device)).numpy()
        return found

    return predict


def traced(pipeline: nn.Module, images: Tensor) -> nn.Module | None:
    """A graph that gives the same for any number of these images; None if there is none."""
    try:
        # Recorded, the warning that torch.jit is deprecated among them: its successors need a C++
        # compiler where the service runs.
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            graph = torch.jit.freeze(torch.jit.trace(pipeline, images, check_trace=False))
    except (RuntimeError, TypeError, ValueError) as error:
        return _none(str(error))
    for each in warned:
        if issubclass(each.category, torch.jit.TracerWarning):  # Python decides by the values
            return _none(str(each.message))
    for count in range(1, len(images) + 1):
        expected = pipeline(images[:count]).float()
        if not all(agree(graph(images[:count]).float(), expected) for _ in range(RUNS)):
            return _none(f"a graph gives others for {count} images")
    return graph


def _none(reason: str) -> None:
    logger.warning("Python runs the network for predictions, which is slower: %s", reason)
