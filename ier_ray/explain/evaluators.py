"""Evaluators, which score masked images, and the dense one, which runs the whole network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor, nn

from ier_ray.errors import NetworkError
from ier_ray.explain.masking import MaskedImages, Masking
from ier_ray.explain.memory import AllocatedBytes, in_batches, planned_bytes
from ier_ray.explain.networks import Network, examine, logits_of, require_ready
from ier_ray.explain.shapley.game import Scores

ScoreFunction = Callable[[Tensor], Tensor]
"""Maps logits ``(M, K)`` to scores ``(M, K)``."""

MOST_ROWS = {"cpu": 16, "cuda": 512}
"""Largest batch chosen by default: larger ones are no faster (measured on CPU)."""

Interrupt = Callable[[], None]
"""Called before each batch; an exception that it raises stops the evaluation."""


def never_interrupt() -> None:
    """Let the evaluation continue."""


class Evaluator(Protocol):
    """Anything that scores masked versions of one image: a network here, a pool, a game."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""

    @property
    def inference(self) -> str:
        """How the scores are computed, for the record: ``incremental``, or ``dense`` and why."""

    def __call__(self, masking: MaskedImages) -> Scores:
        """Scores ``(M, K)`` of ``M`` masked images for ``K`` classes, in their order."""


class NetworkEvaluator(Evaluator, Protocol):
    """An evaluator that runs a network in this process and can say what each image costs."""

    def costs(self, masking: MaskedImages) -> NDArray[np.float64]:
        """Relative cost of each masked image, ``(M,)``."""


def probability(logits: Tensor) -> Tensor:
    """Softmax probability: the paper's score."""
    _require_classes(logits)
    return logits.softmax(1)


def logit(logits: Tensor) -> Tensor:
    """The logit itself."""
    return logits


def log_odds(logits: Tensor) -> Tensor:
    """``log(p / (1 − p))`` of each class, without cancellation."""
    _require_classes(logits)
    classes = logits.shape[1]
    others = ~torch.eye(classes, dtype=torch.bool, device=logits.device)
    spread = logits[:, None, :].expand(-1, classes, -1)
    return logits - spread.masked_fill(~others, -torch.inf).logsumexp(2)


def _require_classes(logits: Tensor) -> None:
    """Raise NetworkError for a single output, whose softmax is always 1."""
    if logits.shape[1] == 1:
        raise NetworkError(
            "the network has one output, whose softmax probability is always 1: explain the score "
            "logit, or return the logits of two classes (0 and the output for a sigmoid)"
        )


SCORES: dict[str, ScoreFunction] = {
    "probability": probability,
    "logit": logit,
    "log_odds": log_odds,
}
PROBABILITIES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "probability": lambda scores: scores,
    "logit": softmax,
    "log_odds": expit,
}
"""Class probabilities ``(K,)`` from the scores ``(K,)`` of an image, by the kind of score."""


@dataclass(frozen=True)
class DenseEvaluator:
    """Runs the whole network on every masked image, a batch at a time.

    Attributes:
        network: logits ``(M, K)`` of normalized images ``(M, C, H, W)``; in eval mode. It is
            run as it is: what it changes of itself when called is changed.
        image: the explained image, normalized, ``(C, H, W)``.
        baseline: what replaces hidden pixels, normalized with the statistics of the image,
            ``(C, H, W)``.
        score: maps logits to the scores that are explained.
        batch_size: masked images in one forward pass; by default as many as free memory allows and
            are faster together, or 1 if the images of a batch affect each other. Halved when
            memory runs out.
        inference: how the scores are computed, for the record.
        interrupt: called before each batch; an exception that it raises stops the evaluation.

    Raises:
        NetworkError: when the network is in training mode; on evaluation, when it fails, returns
            anything but logits or, with the default batch size, something else at each call.
    """

    network: Network
    image: Tensor
    baseline: Tensor
    score: ScoreFunction = probability
    batch_size: int | None = None
    inference: str = "dense"
    interrupt: Interrupt = never_interrupt

    def __post_init__(self) -> None:
        if isinstance(self.network, nn.Module):
            require_ready(self.network)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[-2], self.image.shape[-1]

    @torch.inference_mode()
    def __call__(self, masking: MaskedImages) -> Scores:
        """Scores ``(M, K)`` of masked images."""
        size = self.batch_size or self._batch_size
        parts = in_batches(len(masking), size, lambda rows: self._scores(masking[rows]))
        return np.concatenate([scores for _, scores in parts])

    def costs(self, masking: MaskedImages) -> NDArray[np.float64]:
        """The same for every masked image, ``(M,)``."""
        return np.ones(len(masking))

    @cached_property
    def _batch_size(self) -> int:
        images = masked_images(self.image, self.baseline, probes(self.shape))
        independent = examine(self.network, images).independent
        return affordable_images(self.network, self.image) if independent else 1

    def _scores(self, masking: MaskedImages) -> Scores:
        self.interrupt()
        logits = logits_of(self.network, masked_images(self.image, self.baseline, masking))
        scores: Scores = self.score(logits.double()).cpu().numpy()
        return scores


def masked_images(image: Tensor, baseline: Tensor, masking: MaskedImages) -> Tensor:
    """Masked versions ``(M, C, H, W)`` of an image."""
    shown = masking.pixels(*image.shape[-2:])
    return torch.where(torch.from_numpy(shown[:, None]).to(image.device), image, baseline)


def probes(shape: tuple[int, int]) -> Masking:
    """Masked images that a network is examined with: all, nothing, the middle, all but it."""
    (height, width), inside = shape, np.array([True, False, True, False])
    middle = [height // 4, height - height // 4, width // 4, width - width // 4]
    return Masking(np.array([[0, height, 0, width]] * 2 + [middle] * 2), inside)


@torch.inference_mode()
def affordable_images(network: Network, image: Tensor) -> int:
    """Images in one batch that fit in free memory, estimated from one pass, and are faster so."""
    alone = image[None].clone(memory_format=torch.contiguous_format)
    allocated = AllocatedBytes()  # type: ignore[no-untyped-call]
    with allocated:
        logits_of(network, alone)
    affordable = planned_bytes(image.device) // max(1, allocated.total)
    return max(1, min(affordable, MOST_ROWS.get(image.device.type, MOST_ROWS["cpu"])))
