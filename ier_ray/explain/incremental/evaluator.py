"""The incremental evaluator, and the choice between it and the dense one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ier_ray.explain.evaluators import (
    DenseEvaluator,
    Interrupt,
    NetworkEvaluator,
    ScoreFunction,
    affordable_images,
    logit,
    masked_images,
    never_interrupt,
    probability,
    probes,
)
from ier_ray.explain.incremental.activations import CachedActivations, local_share
from ier_ray.explain.incremental.logits import masked_logits, masked_macs
from ier_ray.explain.incremental.tracing import (
    OpaqueNetworkError,
    TracedNetwork,
    UntraceableError,
    trace,
)
from ier_ray.explain.masking import MaskedImages, Masking
from ier_ray.explain.networks import Examined, agree, examine, logits_of, private_copy
from ier_ray.explain.shapley.game import Scores

MIN_LOCAL_SHARE = 0.5
"""Least share of the work in windowed steps for which the incremental evaluator is chosen."""


@dataclass(frozen=True)
class IncrementalEvaluator:
    """Scores of masked images from the windows that masking changes.

    Images masked by anything but one rectangle are scored by the whole network.

    Attributes:
        network: the traced network, in eval mode.
        image: the explained image, normalized, ``(C, H, W)``.
        baseline: what replaces hidden pixels, as in :class:`DenseEvaluator`.
        score: maps logits to the scores that are explained.
        batch_size: most masked images at once; by default as many as free memory allows. Halved
            when memory runs out.
        inference: how the scores are computed, for the record.
        interrupt: called before each batch; an exception that it raises stops the evaluation.
        dense_batch_size: most images at once that the whole network scores, as in
            :class:`DenseEvaluator`.
    """

    network: TracedNetwork
    image: Tensor
    baseline: Tensor
    score: ScoreFunction = probability
    batch_size: int | None = None
    inference: str = "incremental"
    interrupt: Interrupt = never_interrupt
    dense_batch_size: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[-2], self.image.shape[-1]

    @cached_property
    def activations(self) -> CachedActivations:
        """Activations of both backgrounds, computed on first use."""
        with torch.inference_mode():
            return CachedActivations.of(self.network, torch.stack([self.baseline, self.image]))

    @torch.inference_mode()
    def __call__(self, masking: MaskedImages) -> Scores:
        """Scores ``(M, K)`` of masked images."""
        if not isinstance(masking, Masking):
            return self._dense(masking)
        logits = masked_logits(
            self.network,
            self.activations,
            masking,
            np.zeros(len(masking), dtype=np.int64),
            batch_size=self.batch_size,
            interrupt=self.interrupt,
        )
        scores: Scores = self.score(logits.double()).cpu().numpy()
        return scores

    def costs(self, masking: MaskedImages) -> NDArray[np.float64]:
        """Multiply-accumulates of each masked image, ``(M,)``, with all else in that unit."""
        if not isinstance(masking, Masking):
            return self._dense.costs(masking)
        return masked_macs(self.network, self.activations.shapes, masking)

    @cached_property
    def _dense(self) -> DenseEvaluator:
        return DenseEvaluator(
            self.network.whole,
            self.image,
            self.baseline,
            self.score,
            self.dense_batch_size,
            interrupt=self.interrupt,
        )


@dataclass(frozen=True)
class Choice:
    """How images of one shape are scored fastest.

    Attributes:
        batch_size: most images at once that the whole network scores.
        dense_because: why incremental inference does not score them, if so.
    """

    batch_size: int
    dense_because: str = ""


@dataclass(frozen=True)
class ExactInference:
    """A network prepared once for explaining many images by the fastest exact method.

    Attributes:
        network: a private copy of the network to explain, whose parameters share its numbers:
            after changing them, create a new object.
        traced: its windowed steps; None if there are none.
        dense_because: why there are none, if so.
        one_by_one: whether the network may do what tracing does not see: it gets single images.
    """

    network: nn.Module
    traced: TracedNetwork | None
    dense_because: str = ""
    one_by_one: bool = False
    _choices: dict[torch.Size, Choice] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, network: nn.Module) -> ExactInference:
        """Prepare a network in eval mode, which stays as it is: trace a copy if possible.

        Args:
            network: logits ``(M, K)`` of normalized images ``(M, C, H, W)``.

        Raises:
            NetworkError: when it is in training mode, not initialized, or cannot be copied.
        """
        private = private_copy(network)
        try:  # another copy, as networks may keep what tracing shows them
            return cls(private, replace(trace(private_copy(network)), whole=private))
        except UntraceableError as error:
            opaque = isinstance(error, OpaqueNetworkError)
            return cls(private, None, str(error), one_by_one=opaque)

    def evaluator(
        self,
        image: Tensor,
        baseline: Tensor,
        *,
        score: ScoreFunction = probability,
        interrupt: Interrupt = never_interrupt,
        remark: str = "",
    ) -> NetworkEvaluator:
        """Scores of masked versions of an image: incremental if that is worthwhile, else dense.

        The network is examined with the first image of each shape.

        Args:
            image, baseline: normalized, ``(C, H, W)``, of the network's precision.
            remark: added to the evaluator's ``inference``.
            interrupt: called before each batch; an exception that it raises stops the evaluation.

        Returns:
            An evaluator whose ``inference`` says which it is and, if dense, why.

        Raises:
            NetworkError: when the network fails on the image, does not return logits ``(M, K)``,
                is not determined by the image, or overwrites its parameters.
            ValueError: when image and baseline are not of one shape ``(C, H, W)``.
        """
        if image.dim() != 3 or image.shape != baseline.shape:
            raise ValueError(
                f"image and baseline must have one shape (C, H, W), "
                f"got {tuple(image.shape)} and {tuple(baseline.shape)}"
            )
        choice = self.choice(image, baseline)
        if self.traced is not None and not choice.dense_because:
            return IncrementalEvaluator(
                self.traced,
                image,
                baseline,
                score,
                inference=f"incremental{remark}",
                interrupt=interrupt,
                dense_batch_size=choice.batch_size,
            )
        return DenseEvaluator(
            self.network,
            image,
            baseline,
            score,
            choice.batch_size,
            inference=f"dense: {choice.dense_because}{remark}",
            interrupt=interrupt,
        )

    def choice(self, image: Tensor, baseline: Tensor) -> Choice:
        """How images of this shape are scored; the first one is used to find out.

        Raises:
            NetworkError: as :meth:`evaluator`.
        """
        if image.shape not in self._choices:
            self._choices[image.shape] = self._choose(image, baseline)
        return self._choices[image.shape]

    @torch.inference_mode()
    def _choose(self, image: Tensor, baseline: Tensor) -> Choice:
        """What to do with images of this shape: by the network's operations, or by a few calls."""
        masking = probes((image.shape[-2], image.shape[-1]))
        if self.traced is not None and self.traced.separate:
            masking = masking[:1]
            found = Examined(logits_of(self.network, masked_images(image, baseline, masking)), True)
        else:
            images = masked_images(image, baseline, masking)
            found = examine(self.network, images, batches=not self.one_by_one)
        if self.one_by_one:
            return Choice(1, f"{self.dense_because}; images are run one by one")
        if not found.independent:
            return Choice(1, "the network treats images of a batch differently: run one by one")
        batch_size = affordable_images(self.network, image)
        if self.traced is None:
            return Choice(batch_size, self.dense_because)
        windows = IncrementalEvaluator(self.traced, image, baseline, logit)
        return Choice(batch_size, _reason(windows, masking, found.logits))


def _reason(windows: IncrementalEvaluator, masking: Masking, expected: Tensor) -> str:
    """Why windows do not suit a network that gives masked images these logits, if they do not."""
    try:
        share = local_share(windows.network, windows.activations)
        if share < MIN_LOCAL_SHARE:
            return f"only {share:.0%} of the work comes before operations over all positions"
        found = torch.from_numpy(windows(masking)).to(expected)
    except UntraceableError as error:
        return str(error)
    if not agree(found, expected):
        return "incremental inference gives other logits than the network"
    return ""


def exact_evaluator(
    network: nn.Module, image: Tensor, baseline: Tensor, *, score: ScoreFunction = probability
) -> NetworkEvaluator:
    """:class:`ExactInference` for a single image."""
    return ExactInference.of(network).evaluator(image, baseline, score=score)
