"""What a run starts from: networks, their first weights, the optimizer."""

from __future__ import annotations

import torch

from ier_ray.emotions import EmotionScheme
from ier_ray.errors import CheckpointError
from ier_ray.models.joint import JointModel
from ier_ray.models.registry import build_joint_model
from ier_ray.training.checkpoint import read_checkpoint_manifest, restore_weights
from ier_ray.training.context import TrainContext
from ier_ray.training.progress import Progress, require_classes, restore
from ier_ray.training.settings import TrainSettings
from ier_ray.training.step import Trainee

FUSED_DEVICES = ("cuda", "cpu")
"""Where one kernel updates all weights."""


def start(
    settings: TrainSettings, scheme: EmotionScheme, context: TrainContext
) -> tuple[Trainee, Progress]:
    """The model on the device as its last checkpoint left it, or with its first weights.

    Raises:
        CheckpointError: when a checkpoint or pretrained weights do not fit.
    """
    torch.manual_seed(settings.seed)
    model = build_joint_model(
        settings.model, num_classes=len(scheme.classes), pretrained=settings.schedule.pretrained
    )
    if settings.loss.discrepancy == "dann":
        model.add_discriminator()
    model = model.to(context.device)
    model = model.to(memory_format=torch.channels_last)  # as the pixels come: faster
    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=settings.optimizer.learning_rate,
        fused=context.device.type in FUSED_DEVICES,
    )
    progress = restore(context, model, optimizer, scheme)
    if progress.epoch == 0:
        first_weights(model, settings, scheme)
    if settings.optimizer.compile:
        model.fer.compile()
        model.ier.compile()
    return Trainee(model, context.wrap(model), optimizer, settings.optimizer), progress


def first_weights(model: JointModel, settings: TrainSettings, scheme: EmotionScheme) -> None:
    """Fill ``fer`` from a trained checkpoint and ``ier`` from ``fer``, where the settings say so.

    Raises:
        CheckpointError: when the checkpoint is of another architecture or other classes.
    """
    source = settings.schedule.fer_checkpoint
    if source is not None:
        manifest = read_checkpoint_manifest(source)
        require_classes(manifest, scheme, source)
        if manifest.model != settings.model:
            raise CheckpointError(
                f"schedule.fer_checkpoint {source}: is of model {manifest.model}, this run's is "
                f"{settings.model}"
            )
        restore_weights(source, manifest, {"fer": model.fer})
    if settings.schedule.ier_start == "fer":
        model.ier.load_state_dict(model.fer.state_dict())
