"""Joint training of both networks: the same loop in one process and on every rank."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn

from ier_ray.data.schema import Domain
from ier_ray.data.streams import Batch, JointBatch, JointStreams
from ier_ray.data.transforms import normalise
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import CheckpointError, TrainingError
from ier_ray.losses import JointLoss, LossParts
from ier_ray.models.joint import JointModel
from ier_ray.models.registry import build_joint_model
from ier_ray.training.checkpoint import (
    CheckpointManifest,
    load_checkpoint,
    load_trainer_state,
    save_checkpoint,
)
from ier_ray.training.context import TrainContext
from ier_ray.training.metrics import Sums
from ier_ray.training.settings import TrainSettings

logger = logging.getLogger(__name__)

DOMAINS: tuple[Domain, ...] = ("fer", "ier")
LOSS_NAMES = LossParts._fields
VALIDATION_NAMES = tuple(f"{d}_{what}" for d in DOMAINS for what in ("val_loss", "accuracy"))


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    epoch: int
    step: int
    history: list[dict[str, Any]]
    """One record an epoch: losses, validation metrics, seconds."""


def train(
    settings: TrainSettings, streams: JointStreams, scheme: EmotionScheme, context: TrainContext
) -> Progress:
    """Train to ``settings.schedule.epochs``, from the run's last checkpoint where there is one.

    Raises:
        TrainingError: when a loss is not finite.
    """
    torch.manual_seed(settings.seed)
    model = build_joint_model(
        settings.model, num_classes=len(scheme.classes), pretrained=settings.schedule.pretrained
    ).to(context.device)
    model = model.to(memory_format=torch.channels_last)  # as the pixels come: faster
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.optimizer.learning_rate)
    progress = restore(context, model, optimizer, scheme)
    wrapped = context.wrap(model)
    for epoch in range(progress.epoch, settings.schedule.epochs):
        torch.manual_seed(epoch_seed(settings.seed, epoch, context.rank))
        started = time.perf_counter()
        losses = train_epoch(wrapped, model, optimizer, settings, streams, context, epoch)
        metrics = validate(model, settings, streams, context)
        progress.epoch = epoch + 1
        progress.step += streams.steps(epoch)
        record = {
            "epoch": progress.epoch,
            "step": progress.step,
            **losses,
            **metrics,
            "seconds": time.perf_counter() - started,
        }
        progress.history.append(record)
        if context.rank == 0:
            logger.info(epoch_line(record, settings.schedule.epochs))
        report(settings, streams, scheme, context, model, optimizer, progress)
    return progress


def train_epoch(
    wrapped: nn.Module,
    model: JointModel,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    streams: JointStreams,
    context: TrainContext,
    epoch: int,
) -> dict[str, float]:
    """One pass over the balanced IER data; mean loss parts over all ranks."""
    loss = JointLoss(
        balance=settings.loss.balance,
        regularization=settings.loss.regularization,
        mode=settings.loss.discrepancy,
    )
    if epoch < settings.schedule.warmup_epochs:
        loss = replace(loss, balance=0.0)
    wrapped.train()
    sums = Sums(context.device)
    for batch in streams.train(epoch):
        parts = train_step(wrapped, model, optimizer, loss, batch, settings, context.device)
        for name, value in parts._asdict().items():
            sums.add(name, value * len(batch.ier.labels), len(batch.ier.labels))
    means = sums.means(LOSS_NAMES, context.sum)
    if not all(math.isfinite(value) for value in means.values()):
        raise TrainingError(
            f"epoch {epoch + 1}: the loss is not finite ({means}); lower "
            f"optimizer.learning_rate (now {settings.optimizer.learning_rate}) and start again "
            f"from the last checkpoint"
        )
    return means


def train_step(
    wrapped: nn.Module,
    model: JointModel,
    optimizer: torch.optim.Optimizer,
    loss: JointLoss,
    batch: JointBatch,
    settings: TrainSettings,
    device: torch.device,
) -> LossParts:
    """One optimiser step on a batch of each domain."""
    fer_images, fer_labels = on_device(batch.fer, settings, device)
    ier_images, ier_labels = on_device(batch.ier, settings, device)
    logits = wrapped(fer_images, ier_images, cross=loss.needs_cross)
    parts = loss(logits, fer_labels, ier_labels, model.dense_weights())
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(parts.total)
    optimizer.step()
    return LossParts(*(value.detach() for value in parts))


@torch.no_grad()
def validate(
    model: JointModel, settings: TrainSettings, streams: JointStreams, context: TrainContext
) -> dict[str, float]:
    """Loss and accuracy of each network on its domain's held-out fold, over all ranks."""
    model.eval()
    sums = Sums(context.device)
    for domain in DOMAINS:
        network = getattr(model, domain)
        for batch in streams.validation(domain):
            images, labels = on_device(batch, settings, context.device)
            logits = network(images)
            total = F.cross_entropy(logits, labels, reduction="sum")
            sums.add(f"{domain}_val_loss", total, len(labels))
            correct = (logits.argmax(1) == labels).sum()
            sums.add(f"{domain}_accuracy", correct.double(), len(labels))
    return sums.means(VALIDATION_NAMES, context.sum)


def on_device(batch: Batch, settings: TrainSettings, device: torch.device) -> tuple[Tensor, Tensor]:
    """Normalised images and labels on the device; pixels travel as uint8."""
    pixels = batch.images.to(device, non_blocking=True)
    labels = batch.labels.to(device, non_blocking=True)
    return normalise(pixels, settings.data.normalization), labels


def restore(
    context: TrainContext,
    model: JointModel,
    optimizer: torch.optim.Optimizer,
    scheme: EmotionScheme,
) -> Progress:
    """Fill model and optimiser from the run's last checkpoint, if it has one."""
    with context.checkpoint() as directory:
        if directory is None:
            return Progress(epoch=0, step=0, history=[])
        saved, manifest = load_checkpoint(str(directory))
        if manifest.classes != list(scheme.classes):
            raise CheckpointError(
                f"{directory}: trained on classes {manifest.classes}, the data has "
                f"{list(scheme.classes)}"
            )
        model.load_state_dict(saved.state_dict())
        state = load_trainer_state(str(directory))
    optimizer.load_state_dict(state["optimizer"])
    logger.info("resuming after epoch %d", state["epoch"])
    return Progress(epoch=state["epoch"], step=state["step"], history=state["history"])


def report(
    settings: TrainSettings,
    streams: JointStreams,
    scheme: EmotionScheme,
    context: TrainContext,
    model: JointModel,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Hand the epoch's metrics to the context; rank 0 brings the checkpoint."""
    record = progress.history[-1]
    if context.rank != 0:
        context.report(record, None)
        return
    manifest = CheckpointManifest(
        model=settings.model,
        scheme=scheme.name,
        classes=list(scheme.classes),
        normalization=settings.data.normalization,
        epoch=progress.epoch,
        step=progress.step,
        metrics={name: record[name] for name in VALIDATION_NAMES},
        data_hashes=streams.data_hashes,
    )
    state = {"optimizer": optimizer.state_dict(), **vars(progress)}
    with tempfile.TemporaryDirectory(prefix="ier_ray-checkpoint-") as directory:
        save_checkpoint(Path(directory), model, manifest, state)
        context.report(record, Path(directory))


def epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """Seed of an epoch's dropout: a resumed run draws what an undisturbed one would have."""
    return int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1, np.uint64)[0])


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """An epoch's record for people."""
    return (
        f"epoch {record['epoch']}/{epochs}  loss {record['total']:.3f} "
        f"(fer {record['fer']:.3f}, ier {record['ier']:.3f}, "
        f"discrepancy {record['discrepancy']:.3f})  "
        f"accuracy fer {record['fer_accuracy']:.3f}, ier {record['ier_accuracy']:.3f}  "
        f"{record['seconds']:.1f} s"
    )
