"""The passes of an epoch over its data, and the loss that each minimizes."""

from __future__ import annotations

from dataclasses import replace

from ier_ray.losses import JointLoss
from ier_ray.training.settings import TrainSettings


def epoch_passes(settings: TrainSettings, epoch: int) -> list[JointLoss]:
    """The loss of each pass over the epoch's data.

    An alignment pass minimizes the discrepancy alone, with the optimizer (and its moments) of the
    preceding cross-entropy pass. The cross-entropies stay in its loss with weight 0, so that every
    parameter has a gradient, as DDP requires.
    """
    loss = JointLoss(
        balance=settings.loss.balance,
        regularization=settings.loss.regularization,
        mode=settings.loss.discrepancy,
        supervision=settings.loss.supervision,
        label_smoothing=settings.loss.label_smoothing,
        gradient=settings.loss.discrepancy_gradient,
    )
    cross_entropy = replace(loss, balance=0.0)
    if epoch < settings.schedule.warmup_epochs or loss.balance == 0:
        return [cross_entropy]
    if settings.schedule.alignment == "per_step":
        return [loss]
    return [cross_entropy, replace(loss, classification=0.0, regularization=0.0)]


def merge_losses(
    earlier: dict[str, float], found: dict[str, float], loss: JointLoss
) -> dict[str, float]:
    """An epoch's losses after a pass; an alignment pass contributes only its discrepancy."""
    if loss.classification > 0:
        return found
    discrepancy = found["discrepancy"]
    total = earlier["total"] + loss.balance * discrepancy
    return {**earlier, "total": total, "discrepancy": discrepancy}
