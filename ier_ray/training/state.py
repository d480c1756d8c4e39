"""The train state: initial weights, resuming from a checkpoint, and saving one."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ier_ray.data.provenance import SeenRows
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import CheckpointError, SettingsError
from ier_ray.losses import DISCREPANCIES
from ier_ray.models.joint import JointModel
from ier_ray.models.registry import build_joint_model
from ier_ray.models.weights import load_pretrained
from ier_ray.training.checkpoint import (
    CheckpointManifest,
    load_trainer_state,
    read_checkpoint_manifest,
    restore_weights,
    save_checkpoint,
)
from ier_ray.training.context import TrainContext
from ier_ray.training.optimization import (
    averaged_copy,
    freeze_first_layers,
    freeze_trunks,
    make_optimizer,
)
from ier_ray.training.sections import ScheduleSettings
from ier_ray.training.settings import TrainSettings
from ier_ray.training.trunk_cache import TrunkCache, trunk_cache

logger = logging.getLogger(__name__)


@dataclass
class RunProgress:
    """How far a run has trained; saved with every checkpoint."""

    epoch: int
    step: int
    history: list[dict[str, Any]]
    """One record per epoch: losses, validation metrics, seconds."""

    def is_complete(self, schedule: ScheduleSettings) -> bool:
        """Whether the run has trained all that its schedule asks for."""
        return self.epoch >= schedule.epochs or self.has_stalled(schedule.patience)

    def has_stalled(self, patience: int | None) -> bool:
        """Whether the last ``patience`` epochs all failed to exceed the best score.

        Every rank has the same history; a resumed run continues the history of its checkpoint.
        """
        scores = [record["score"] for record in self.history]
        if patience is None or not scores:
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= patience


@dataclass(frozen=True)
class TrainState:
    """What training changes: the weights, the optimizer's moments, and the progress of the run."""

    model: JointModel
    wrapped: nn.Module
    """The model, with gradients averaged over ranks."""
    optimizer: torch.optim.Optimizer
    progress: RunProgress
    averaged: AveragedModel | None = None
    """The moving average of the weights, with ``optimizer.ema``."""
    cache: TrunkCache | None = None
    """Features of a frozen trunk."""

    @property
    def evaluated(self) -> JointModel:
        """The model that is validated and saved: the averaged one, if there is one."""
        if self.averaged is None:
            return self.model
        return cast("JointModel", self.averaged.module)


def start(settings: TrainSettings, scheme: EmotionScheme, context: TrainContext) -> TrainState:
    """The train state on the device: from the run's last checkpoint, or with initial weights.

    Raises:
        CheckpointError: when a checkpoint or pretrained weights do not fit.
        SettingsError: when the trunk has too few layers for ``optimizer.frozen_layers``.
    """
    torch.manual_seed(settings.seed)
    model = build_joint_model(
        settings.model,
        num_classes=len(scheme.classes),
        pretrained=settings.schedule.pretrained,
        networks=settings.domains,
    )
    if DISCREPANCIES[settings.loss.discrepancy].needs_discriminator:
        model.add_discriminator()
    freeze(model, settings)
    model = model.to(context.device)
    model = model.to(memory_format=torch.channels_last)  # the layout of the decoded pixels: faster
    optimizer = make_optimizer(model, settings.optimizer, context.device)
    decay = settings.optimizer.ema
    averaged = None if decay is None else averaged_copy(model, decay)
    progress = restore(context, model, optimizer, averaged, scheme)
    if progress.epoch == 0:
        fill_initial_weights(model, settings, scheme)
    if settings.optimizer.compile:
        for network in model.networks.values():
            network.compile()
    cache = trunk_cache(model, settings, context.device)
    return TrainState(model, context.wrap(model), optimizer, progress, averaged, cache)


def freeze(model: JointModel, settings: TrainSettings) -> None:
    """Exclude from training what ``optimizer.trunk_factor`` or ``frozen_layers`` say.

    Raises:
        SettingsError: when the trunk has too few layers for ``optimizer.frozen_layers``.
    """
    if settings.optimizer.trunk_factor == 0:
        freeze_trunks(model)
    elif settings.optimizer.frozen_layers:
        freeze_first_layers(model, settings.optimizer.frozen_layers)


@torch.no_grad()
def check_initial_weights(settings: TrainSettings, scheme: EmotionScheme) -> None:
    """Raise if :func:`start` would; reads the files that a run starts from, and keeps no weights.

    Raises:
        CheckpointError, StorageError: when weights are missing or do not fit.
        SettingsError: when there are too few layers to freeze, or too few images in a batch.
    """
    with torch.device("meta"):
        model = build_joint_model(
            settings.model, num_classes=len(scheme.classes), networks=settings.domains
        )
    if settings.schedule.pretrained is not None:
        load_pretrained(model.networks.values(), settings.schedule.pretrained)
    freeze(model, settings)
    fill_initial_weights(model, settings, scheme)
    if settings.model.reads_captions:
        return
    size, count = settings.model.image_size, settings.optimizer.batch_size
    try:
        for network in model.networks.values():
            network(torch.zeros(count, 3, size, size, device="meta"))
    except ValueError as error:  # of normalization over a batch
        raise SettingsError(
            f"optimizer.batch_size {count} with model.image_size {size}: {error}; give a larger one"
        ) from error


def fill_initial_weights(model: JointModel, settings: TrainSettings, scheme: EmotionScheme) -> None:
    """Fill ``fer`` from a trained checkpoint and ``ier`` from ``fer``, where the settings say so.

    Without a ``fer`` network, ``ier`` is filled from that of the checkpoint.

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
        restore_weights(source, manifest, {"fer": model.networks.get("fer", model.ier)})
    if settings.schedule.ier_start == "fer" and "fer" in model.networks:
        model.ier.load_state_dict(model.fer.state_dict())


def restore(
    context: TrainContext,
    model: JointModel,
    optimizer: torch.optim.Optimizer,
    averaged: AveragedModel | None,
    scheme: EmotionScheme,
) -> RunProgress:
    """Fill model, optimizer and average from the run's last checkpoint, if it has one.

    Raises:
        CheckpointError: before training starts, when it is damaged or does not fit. Weights are
            copied into all networks or none.
    """
    with context.checkpoint() as directory:
        if directory is None:
            return RunProgress(epoch=0, step=0, history=[])
        location = str(directory)
        manifest = read_checkpoint_manifest(location)
        require_classes(manifest, scheme, location)
        if manifest.networks != tuple(model.networks):
            raise CheckpointError(
                f"{location}: holds the networks {', '.join(manifest.networks)}, this run trains "
                f"{', '.join(model.networks)} (schedule.networks)"
            )
        restore_weights(location, manifest, model.networks)
        state = load_trainer_state(location)
    if averaged is not None:  # whose weights are those of the checkpoint
        averaged.module.load_state_dict(model.state_dict())
        averaged.n_averaged.fill_(state["averaged_steps"])
        model.load_state_dict(state["weights"])
    if model.discriminator is not None:
        model.discriminator.load_state_dict(state["discriminator"])
    optimizer.load_state_dict(state["optimizer"])  # on the CPU, keeps the loaded tensors
    logger.info("resuming after epoch %d", state["epoch"])
    return RunProgress(epoch=state["epoch"], step=state["step"], history=state["history"])


def require_classes(manifest: CheckpointManifest, scheme: EmotionScheme, location: str) -> None:
    """Raise :class:`CheckpointError` if a checkpoint's classes are not those of the data."""
    if manifest.classes != list(scheme.classes):
        raise CheckpointError(
            f"{location}: trained on classes {manifest.classes}, the data has "
            f"{list(scheme.classes)}"
        )


def report(
    context: TrainContext, state: TrainState, manifest: CheckpointManifest, seen: SeenRows
) -> None:
    """Report the epoch's record to the context; rank 0 adds the checkpoint."""
    record = state.progress.history[-1]
    if context.rank != 0:
        context.report(record, None)
        return
    kept = {"optimizer": state.optimizer.state_dict(), **vars(state.progress)}
    if state.averaged is not None:
        kept["weights"] = state.model.state_dict()
        kept["averaged_steps"] = int(state.averaged.n_averaged)
    if state.model.discriminator is not None:
        kept["discriminator"] = state.model.discriminator.state_dict()
    with tempfile.TemporaryDirectory(prefix="ier_ray-checkpoint-") as directory:
        save_checkpoint(Path(directory), state.evaluated, manifest, kept, seen)
        context.report(record, Path(directory))
