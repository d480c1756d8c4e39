"""One optimizer step over one or more batches."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ier_ray.losses import JointLoss, LossParts
from ier_ray.training.optimization import autocast
from ier_ray.training.sections import OptimizerSettings
from ier_ray.training.state import TrainState


class DeviceBatch(NamedTuple):
    """One batch of each domain on the device.

    Normalized images ``(N, 3, S, S)``, token ids, or the features ``(N, d)`` of a trunk cache.
    """

    fer_images: Tensor
    fer_labels: Tensor
    ier_images: Tensor
    ier_labels: Tensor


def optimizer_step(
    state: TrainState,
    loss: JointLoss,
    batches: Iterable[DeviceBatch],
    settings: OptimizerSettings,
    *,
    count: int,
) -> list[LossParts]:
    """One step on the mean loss of ``count`` batches; returns the parts of each batch's loss.

    Equal to a step on one batch of all their images where the loss is a mean over samples
    (cross-entropy, ``same_image``, ``hidden``, ``mcd``, ``dann``) and the networks have neither
    batch normalization nor dropout. Other discrepancies compare only samples of the same batch.

    Args:
        settings: ``clip_norm`` and ``precision`` are read.
    """
    state.optimizer.zero_grad(set_to_none=True)
    parts = []
    for number, batch in enumerate(batches, start=1):
        with nullcontext() if number == count else without_averaging(state.wrapped):
            with autocast(batch.fer_images.device, settings):
                outputs = state.wrapped(
                    batch.fer_images,
                    batch.ier_images,
                    compared=loss.compared,
                    ier_on_fer=loss.ier_on_fer,
                    fer_is_fixed=loss.gradient == "ier",
                    from_features=state.cache is not None,
                )
            batch_parts = loss(
                outputs.in_full_precision(),
                batch.fer_labels,
                batch.ier_labels,
                state.model.dense_weights(),
            )
            torch.autograd.backward(batch_parts.total / count)
        parts.append(LossParts(*(value.detach() for value in batch_parts)))
    if settings.clip_norm is not None:
        for network in state.model.children():  # and the discriminator
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
    state.optimizer.step()
    if state.averaged is not None:
        state.averaged.update_parameters(state.model)
    return parts


def without_averaging(wrapped: nn.Module) -> AbstractContextManager[object]:
    """A context without DDP's gradient averaging, for all but the last batch of a step."""
    if isinstance(wrapped, DistributedDataParallel):
        context: AbstractContextManager[object] = wrapped.no_sync()
        return context
    return nullcontext()
