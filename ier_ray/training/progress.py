"""Where a run stands: kept with every checkpoint, taken up by the next start."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ier_ray.emotions import EmotionScheme
from ier_ray.errors import CheckpointError
from ier_ray.models.joint import JointModel
from ier_ray.training.checkpoint import (
    CheckpointManifest,
    load_trainer_state,
    read_checkpoint_manifest,
    restore_weights,
    save_checkpoint,
)
from ier_ray.training.context import TrainContext

logger = logging.getLogger(__name__)

STOPS_BY = "ier_val_loss"


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    epoch: int
    step: int
    history: list[dict[str, Any]]
    """One record an epoch: losses, validation metrics, seconds."""

    def has_stalled(self, patience: int | None) -> bool:
        """Whether the last ``patience`` epochs all failed to lower the lowest validation loss.

        Every rank has the same history, and a resumed run that of the run it resumes.
        """
        losses = [record[STOPS_BY] for record in self.history]
        if patience is None or not losses:
            return False
        return len(losses) - 1 - losses.index(min(losses)) >= patience


def restore(
    context: TrainContext,
    model: JointModel,
    optimizer: torch.optim.Optimizer,
    scheme: EmotionScheme,
) -> Progress:
    """Fill model and optimizer from the run's last checkpoint, if it has one.

    Raises:
        CheckpointError: before training starts, when it is damaged or does not fit. Weights fill
            all of the networks or nothing.
    """
    with context.checkpoint() as directory:
        if directory is None:
            return Progress(epoch=0, step=0, history=[])
        location = str(directory)
        manifest = read_checkpoint_manifest(location)
        require_classes(manifest, scheme, location)
        restore_weights(location, manifest, {"fer": model.fer, "ier": model.ier})
        state = load_trainer_state(location)
    if model.discriminator is not None:
        model.discriminator.load_state_dict(state["discriminator"])
    optimizer.load_state_dict(state["optimizer"])  # adopts tensors on the CPU
    logger.info("resuming after epoch %d", state["epoch"])
    return Progress(epoch=state["epoch"], step=state["step"], history=state["history"])


def require_classes(manifest: CheckpointManifest, scheme: EmotionScheme, location: str) -> None:
    """Raise where a checkpoint was trained on other classes than the data has."""
    if manifest.classes != list(scheme.classes):
        raise CheckpointError(
            f"{location}: trained on classes {manifest.classes}, the data has "
            f"{list(scheme.classes)}"
        )


def report(
    context: TrainContext,
    model: JointModel,
    optimizer: torch.optim.Optimizer,
    manifest: CheckpointManifest,
    progress: Progress,
) -> None:
    """Hand the epoch's record to the context; rank 0 brings the checkpoint."""
    record = progress.history[-1]
    if context.rank != 0:
        context.report(record, None)
        return
    state = {"optimizer": optimizer.state_dict(), **vars(progress)}
    if model.discriminator is not None:
        state["discriminator"] = model.discriminator.state_dict()
    with tempfile.TemporaryDirectory(prefix="ier_ray-checkpoint-") as directory:
        save_checkpoint(Path(directory), model, manifest, state)
        context.report(record, Path(directory))
