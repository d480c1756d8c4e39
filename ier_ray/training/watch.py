"""The losses of a pass, and the step at which one stopped being finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ier_ray.errors import TrainingError
from ier_ray.losses import LossParts
from ier_ray.training.context import TrainContext

LOOK_EVERY = 50
"""Batches between two looks. Each look waits for the device and for the other ranks."""


@dataclass
class LossWatch:
    """Keeps the parts of each batch's loss on the device, and looks at them now and then.

    What it looks at is the mean over ranks, so that all of them stop at the same step.
    """

    context: TrainContext
    epoch: int
    """Number of the epoch, from 1, for the message."""
    learning_rate: float
    _waiting: list[tuple[int, Tensor]] = field(default_factory=list)
    _total: Tensor = field(default_factory=lambda: torch.zeros(len(LossParts._fields)).double())
    _seen: int = 0

    def add(self, step: int, parts: Sequence[LossParts]) -> None:
        """Note the losses of a step's batches.

        Raises:
            TrainingError: when it is time to look, and one is not finite.
        """
        self._waiting += [(step, torch.stack(part).detach()) for part in parts]
        if len(self._waiting) >= LOOK_EVERY:
            self._look()

    def means(self) -> dict[str, float]:
        """Mean of each part over all batches and ranks.

        Raises:
            TrainingError: when one is not finite.
        """
        self._look()
        return dict(zip(LossParts._fields, (self._total / self._seen).tolist(), strict=True))

    def _look(self) -> None:
        if not self._waiting:
            return
        stacked = torch.stack([parts for _, parts in self._waiting]).double()
        rows = self.context.sum(stacked).cpu() / self.context.world_size
        broken = (~rows.isfinite()).any(1).nonzero()
        if len(broken):
            first = int(broken[0])
            raise self._error(self._waiting[first][0], LossParts(*rows[first]))
        self._total += rows.sum(0)
        self._seen += len(rows)
        self._waiting = []

    def _error(self, step: int, parts: LossParts) -> TrainingError:
        values = ", ".join(f"{name} {float(value):.4g}" for name, value in parts._asdict().items())
        kept = self.context.last_checkpoint()
        cure = f"go on from the last checkpoint, {kept}" if kept else "start again (no epoch ended)"
        return TrainingError(
            f"epoch {self.epoch}: the loss is not finite at step {step} ({values}); lower "
            f"optimizer.learning_rate (now {self.learning_rate:g}) or set optimizer.clip_norm, "
            f"and {cure}"
        )
