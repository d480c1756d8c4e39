"""Which losses an epoch minimizes: the passes over its data."""

from __future__ import annotations

from dataclasses import replace

from ier_ray.losses import JointLoss
from ier_ray.training.settings import TrainSettings


def epoch_passes(settings: TrainSettings, epoch: int) -> list[JointLoss]:
    """The loss of each pass over the epoch's data.

    An alignment pass minimizes the discrepancy alone, with the optimizer (and the moments) of the
    cross-entropy pass before it. The cross-entropies keep weight 0 in it: every parameter then has
    a gradient, which DDP asks for.
    """
    loss = JointLoss(
        balance=settings.loss.balance,
        regularization=settings.loss.regularization,
        mode=settings.loss.discrepancy,
        supervision=settings.loss.supervision,
    )
    cross_entropy = replace(loss, balance=0.0)
    if epoch < settings.schedule.warmup_epochs or loss.balance == 0:
        return [cross_entropy]
    if settings.schedule.alignment == "per_step":
        return [loss]
    return [cross_entropy, replace(loss, classification=0.0, regularization=0.0)]


def joined(earlier: dict[str, float], found: dict[str, float], loss: JointLoss) -> dict[str, float]:
    """Losses of an epoch so far: an alignment pass adds its discrepancy to those before it."""
    if loss.classification > 0:
        return found
    apart = found["discrepancy"]
    total = earlier["total"] + loss.balance * apart
    return {**earlier, "total": total, "discrepancy": apart}
