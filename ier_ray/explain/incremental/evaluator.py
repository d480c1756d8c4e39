"""The incremental evaluator, and the choice between it and the dense one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
    never_interrupt,
    probability,
)
from ier_ray.explain.incremental.activations import CachedActivations, local_share
from ier_ray.explain.incremental.logits import masked_logits, masked_macs
from ier_ray.explain.incremental.tracing import TracedNetwork, UntraceableError, trace
from ier_ray.explain.masking import MaskedImages, Masking
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
    """

    network: TracedNetwork
    image: Tensor
    baseline: Tensor
    score: ScoreFunction = probability
    batch_size: int | None = None
    inference: str = "incremental"
    interrupt: Interrupt = never_interrupt

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
            self.network.whole, self.image, self.baseline, self.score, interrupt=self.interrupt
        )


@dataclass(frozen=True)
class ExactInference:
    """A network prepared once for explaining many images by the fastest exact method.

    Attributes:
        network: in eval mode; logits ``(M, K)`` of normalized images ``(M, C, H, W)``. Copies of
            its weights are kept: after changing them, create a new object.
        traced: its windowed steps; None if it cannot be traced.
        dense_because: why it cannot be traced, if so.
    """

    network: nn.Module
    traced: TracedNetwork | None
    dense_because: str = ""
    _local_shares: dict[torch.Size, float] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, network: nn.Module) -> ExactInference:
        """Prepare a network in eval mode: trace it if possible."""
        try:
            return cls(network, trace(network))
        except UntraceableError as error:
            return cls(network, None, str(error))

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

        Args:
            image, baseline: normalized, ``(C, H, W)``, of the network's precision.
            remark: added to the evaluator's ``inference``.
            interrupt: called before each batch; an exception that it raises stops the evaluation.

        Returns:
            An evaluator whose ``inference`` says which it is and, if dense, why.
        """
        reason = self.dense_because
        if self.traced is not None:
            evaluator = IncrementalEvaluator(
                self.traced,
                image,
                baseline,
                score,
                inference=f"incremental{remark}",
                interrupt=interrupt,
            )
            reason = self._too_little_local(lambda: evaluator.activations, image.shape)
            if not reason:
                return evaluator
        return DenseEvaluator(
            self.network,
            image,
            baseline,
            score,
            inference=f"dense: {reason}{remark}",
            interrupt=interrupt,
        )

    def method(self, image: Tensor) -> tuple[TracedNetwork | None, str]:
        """How images of this shape ``(C, H, W)`` are scored fastest.

        Returns:
            The traced network if by windows, else None; and what to record as ``inference``.
        """
        reason = self.dense_because
        if self.traced is not None:
            pixels, traced = torch.stack([image, image]), self.traced
            with torch.inference_mode():
                reason = self._too_little_local(
                    lambda: CachedActivations.of(traced, pixels), image.shape
                )
            if not reason:
                return traced, "incremental"
        return None, f"dense: {reason}"

    def _too_little_local(
        self, activations: Callable[[], CachedActivations], shape: torch.Size
    ) -> str:
        """Why windows are not worthwhile for images of a shape; empty if they are."""
        if self.traced is None:
            return self.dense_because
        if shape not in self._local_shares:
            self._local_shares[shape] = local_share(self.traced, activations())
        share = self._local_shares[shape]
        if share >= MIN_LOCAL_SHARE:
            return ""
        return f"only {share:.0%} of the work comes before operations over all positions"


def exact_evaluator(
    network: nn.Module, image: Tensor, baseline: Tensor, *, score: ScoreFunction = probability
) -> NetworkEvaluator:
    """:class:`ExactInference` for a single image."""
    return ExactInference.of(network).evaluator(image, baseline, score=score)
