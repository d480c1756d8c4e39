"""How many bytes a run will keep, known before it starts: its weights are counted, not made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ier_ray.losses import DISCREPANCIES
from ier_ray.models.registry import build_joint_model
from ier_ray.training.optimization import parameter_groups
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import freeze

SEEN_ROW = 10
"""Bytes of a row in ``seen.parquet``: a hash of 8 bytes, and its place in the file's dictionary."""
PREDICTED_ROW = 80
"""Bytes of a row in ``predictions.parquet``: four or so probabilities of 8 bytes, and names."""
STATE_TENSOR, STATE = 250, 2_000
"""Bytes that ``torch.save`` adds to each tensor, and those of the rest of the trainer state."""
STATE_EPOCH, EPOCH = 220, 850
"""Bytes of an epoch's record in the trainer state, and of its TensorBoard file."""
WEIGHT_TENSOR, DESCRIPTION = 85, 2_500
"""Bytes that safetensors adds to each tensor, and those of manifest and empty tables."""


@dataclass(frozen=True)
class CheckpointSize:
    """Bytes of a checkpoint's files."""

    served: int
    """Weights, manifest and the rows seen: what is exported for serving."""
    trainer_state: int
    """What resuming needs besides."""

    @property
    def whole(self) -> int:
        """All files together."""
        return self.served + self.trainer_state


@dataclass(frozen=True)
class Footprint:
    """Bytes in the storage of one or more runs."""

    kept: int
    """At the end."""
    passing: int
    """More than that at the busiest moment: a checkpoint is deleted when the next is complete."""
    what: str
    """What they consist of, for messages."""
    checkpoint: int
    """Bytes of one checkpoint, which the node that saves it holds, too."""

    @property
    def peak(self) -> int:
        """The most that there are at any time."""
        return self.kept + self.passing


def checkpoint_size(settings: TrainSettings, *, num_classes: int, rows: int) -> CheckpointSize:
    """The size of each checkpoint of a run.

    Args:
        rows: rows of all shard sets together.
    """
    with torch.device("meta"):
        model = build_joint_model(
            settings.model, num_classes=num_classes, networks=settings.domains
        )
        if DISCREPANCIES[settings.loss.discrepancy].needs_discriminator:
            model.add_discriminator()
    freeze(model, settings)
    served = [tensor for net in model.networks.values() for tensor in net.state_dict().values()]
    trained = [
        parameter
        for group in parameter_groups(model, settings.optimizer)
        for parameter in group["params"]
    ]
    state = [*trained, *trained]  # both moments of Adam
    if settings.optimizer.ema is not None:
        state += model.state_dict().values()
    if model.discriminator is not None:
        state += model.discriminator.state_dict().values()
    steps = STATE_TENSOR * len(trained)  # each parameter's count of steps is a tensor, too
    return CheckpointSize(
        served=_bytes(served, WEIGHT_TENSOR) + DESCRIPTION + rows * SEEN_ROW,
        trainer_state=_bytes(state, STATE_TENSOR)
        + steps
        + STATE
        + STATE_EPOCH * settings.schedule.epochs,
    )


def _bytes(tensors: Iterable[Tensor], each: int) -> int:
    return sum(tensor.numel() * tensor.element_size() + each for tensor in tensors)


def run_footprint(settings: TrainSettings, size: CheckpointSize, *, rows: int) -> Footprint:
    """What a run leaves: its checkpoints, the exported one, TensorBoard's files, predictions."""
    return with_export(trial_footprint(settings, size), size, rows=rows)


def trial_footprint(settings: TrainSettings, size: CheckpointSize) -> Footprint:
    """What a run leaves without its exported checkpoint: the best and the last epoch's."""
    epochs = settings.schedule.epochs
    copies = min(epochs, 1 if settings.criterion == "last" else 2)
    return Footprint(
        kept=copies * size.whole + epochs * EPOCH,
        passing=size.whole if epochs > copies else 0,
        what=f"{copies} checkpoints of {gib(size.whole)}" + " and the next" * (epochs > copies),
        checkpoint=size.whole,
    )


def runs_footprint(run: Footprint, count: int, *, at_once: int, what: str) -> Footprint:
    """What several runs leave, of which some train at the same time."""
    return replace(
        run,
        kept=run.kept * count,
        passing=run.passing * min(count, at_once),
        what=f"{count} {what}, each with {run.what}",
    )


def sweep_footprint(
    settings: TrainSettings,
    size: CheckpointSize,
    *,
    trials: int,
    folds: int,
    keep: int,
    at_once: int,
) -> Footprint:
    """What a sweep leaves: records of all its trials, and the weights of the best ones.

    Args:
        folds: folds of a trial. They train one after the other: beside their checkpoints, a trial
            has the first one's weights, which a trial of one fold has, too, when it ends.
        keep: trials whose weights are kept.
        at_once: trials that train at the same time. Only these have trainer state: in the newest
            checkpoint and in the next one; nested runs of several workers in the best one, too.
    """
    live, kept = min(trials, at_once), min(trials, keep)
    copies = min(settings.schedule.epochs, 2 if settings.scaling.num_workers == 1 else 3)
    return Footprint(
        kept=kept * size.served + trials * folds * settings.schedule.epochs * EPOCH,
        passing=live * (copies * size.whole + size.served),
        what=f"records of {trials} trials; weights of {kept}, {gib(size.served)} each; "
        f"{live} at the same time with {copies} checkpoints of {gib(size.whole)}",
        checkpoint=size.whole,
    )


def with_export(trained: Footprint, size: CheckpointSize, *, rows: int) -> Footprint:
    """The same with the exported best checkpoint and its predictions, at the end of training."""
    exported = size.served + rows * PREDICTED_ROW
    return replace(
        trained,
        kept=trained.kept + exported,
        passing=max(0, trained.passing - exported),
        what=f"{trained.what}; the best one exported, {gib(size.served)}",
    )


def gib(count: float) -> str:
    """Bytes in GiB, with three digits at least."""
    amount = count / 2**30
    return f"{amount:.1f} GiB" if amount >= 100 else f"{amount:.3g} GiB"
