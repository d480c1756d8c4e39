"""Logits and costs of masked images of one or several images, from cached activations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ier_ray.explain.evaluators import Interrupt, never_interrupt
from ier_ray.explain.incremental.activations import CachedActivations
from ier_ray.explain.incremental.batch import WindowBatch, backgrounds, changed_macs
from ier_ray.explain.incremental.tracing import TracedNetwork
from ier_ray.explain.masking import Masking, Rows
from ier_ray.explain.memory import in_batches, planned_bytes
from ier_ray.explain.regions import areas

WINDOW_DIVISOR = 8
"""The windows computed together take at most the planned memory divided by this."""
MAP_COPIES = 3
"""Copies of whole maps in memory at once: the tail's input, the flattened input, its outputs."""
ROW_MACS = 1e7
"""Fixed cost of a masked image, whatever its windows, in multiply-accumulates."""


def masked_logits(
    network: TracedNetwork,
    activations: CachedActivations,
    masking: Masking,
    pairs: Rows,
    *,
    batch_size: int | None = None,
    interrupt: Interrupt = never_interrupt,
) -> Tensor:
    """Logits ``(M, K)`` of masked images, each computed in the windows that masking changes.

    Args:
        pairs: ``(M,)``; the image that each row masks, by its place in ``activations``.
        batch_size: most masked images at once; by default as many as free memory allows.
    """
    known = activations.logits
    background = backgrounds(masking, pairs)
    pixels = areas(masking.rectangles)
    shown = torch.from_numpy(background ^ (pixels > 0))  # right for all or nothing shown
    logits = known[shown.to(known.device)]
    partial = np.flatnonzero(changes_part(masking, activations.shapes[network.source][1:]))
    partial = partial[np.argsort(pixels[partial], kind="stable")]
    memory = planned_bytes(known.device)

    def computed(rows: slice) -> Tensor:
        chosen = partial[rows]
        batch = WindowBatch(network, activations, masking[chosen], pairs[chosen])
        part = (batch.bytes().cumsum() // (memory / WINDOW_DIVISOR)).astype(np.int64)
        for group in np.split(np.arange(len(chosen)), np.flatnonzero(np.diff(part)) + 1):
            batch.run(group, interrupt)
        return network.logits(batch.tail_inputs())

    row = sum(maps[0].nbytes for maps in activations.frontier.values())
    most = batch_size or max(1, memory // (MAP_COPIES * row))
    for rows, found in in_batches(len(partial), most, computed):
        logits[torch.from_numpy(partial[rows]).to(known.device)] = found
    return logits


def masked_macs(
    network: TracedNetwork, shapes: Mapping[str, tuple[int, int, int]], masking: Masking
) -> NDArray[np.float64]:
    """Multiply-accumulates of each masked image, ``(M,)``, with all else in that unit."""
    macs = changed_macs(network, shapes, masking)
    return ROW_MACS + np.where(changes_part(masking, shapes[network.source][1:]), macs, 0)


def changes_part(masking: Masking, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """``(M,)``: which images show neither all of the image nor all of the baseline."""
    pixels = areas(masking.rectangles)
    return (pixels > 0) & (pixels < shape[0] * shape[1])
