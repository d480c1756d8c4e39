"""Predictions as one TorchScript graph, which computes a batch without the interpreter's lock.

Otherwise every operation of the network takes the lock when it returns, and waits for the event
loop that holds it meanwhile: under load, a batch of a small network takes three times as long.
"""

import logging
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, jit, nn

from ier_ray.data.schema import Domain
from ier_ray.errors import NetworkError
from ier_ray.explain.networks import FORWARD, agree
from ier_ray.inference import Recognizer

logger = logging.getLogger(__name__)

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Class probabilities ``(N, K)`` of images ``(N, S, S, 3)``."""
COUNTS = (2, 1, 3)
"""Numbers of images for which a graph, recorded with the first, is compared with the network."""
RUNS = 2
"""Of each: TorchScript optimizes a graph after its first run."""


class Pipeline(nn.Module):
    """Class probabilities ``(N, K)`` of images ``(N, S, S, 3)`` uint8."""

    def __init__(self, recognizer: Recognizer, domain: Domain) -> None:
        super().__init__()
        self.network = recognizer.networks[domain]
        self._inputs = recognizer.manifest.preprocessing.inputs

    def forward(self, images: Tensor) -> Tensor:
        """As :meth:`Recognizer.probabilities`."""
        found: Tensor = self.network(self._inputs(images)).double().softmax(1).cpu()
        return found


def predictor(recognizer: Recognizer, domain: Domain = "ier") -> Predict:
    """The predictions of one of a recognizer's networks, as a graph where that is possible.

    Where a graph computes something else, because what a network does depends on the values or the
    number of images, Python runs the network, and the log says so.
    """
    size = recognizer.manifest.model.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (max(COUNTS), size, size, 3), np.uint8)
    images = torch.from_numpy(pixels).to(recognizer.device)
    try:
        with torch.no_grad(), FORWARD:
            graph = traced(Pipeline(recognizer, domain).eval(), images)
    except NetworkError as error:
        logger.warning("Python runs the network for predictions, which is slower: %s", error)
        return partial(recognizer.probabilities, domain=domain)

    @torch.inference_mode()
    def predict(batch: NDArray[np.uint8]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = graph(torch.from_numpy(batch).to(recognizer.device)).numpy()
        return found

    return predict


def traced(pipeline: nn.Module, images: Tensor) -> nn.Module:
    """A graph that gives the same for these images, whatever their number.

    Raises:
        NetworkError: when there is none.
    """
    try:
        # Caught, the warning that torch.jit is deprecated among them: its successors need a C++
        # compiler where the service runs.
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            graph: nn.Module = jit.freeze(
                jit.trace(pipeline, images[: COUNTS[0]], check_trace=False)  # type: ignore[no-untyped-call]
            )
        for each in warned:
            if issubclass(each.category, jit.TracerWarning):  # type: ignore[attr-defined]
                raise NetworkError(str(each.message))  # Python decided by values
        for count in COUNTS:
            expected = pipeline(images[:count]).float()
            if not all(agree(graph(images[:count]).float(), expected) for _ in range(RUNS)):
                raise NetworkError(f"a graph gives others for {count} images")
    except (RuntimeError, TypeError, ValueError) as error:
        raise NetworkError(str(error)) from error
    return graph
