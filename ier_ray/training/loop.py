"""Joint training of both networks: the same loop in one process and on every rank."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

from ier_ray.data.augmentation import augment
from ier_ray.data.schema import Domain
from ier_ray.data.streams import Batch, JointBatch, JointStreams
from ier_ray.data.transforms import statistics, to_unit_range
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DeviceMemoryError, TrainingError
from ier_ray.losses import JointLoss
from ier_ray.training.checkpoint import CheckpointManifest
from ier_ray.training.context import TrainContext, share_buffers
from ier_ray.training.metrics import Sums
from ier_ray.training.pace import Pace
from ier_ray.training.passes import epoch_passes, joined
from ier_ray.training.progress import STOPS_BY, Progress, report
from ier_ray.training.settings import TrainSettings
from ier_ray.training.start import start
from ier_ray.training.step import DeviceBatch, Trainee, optimizer_step
from ier_ray.training.watch import LossWatch

logger = logging.getLogger(__name__)

DOMAINS: tuple[Domain, ...] = ("fer", "ier")
VALIDATION_NAMES = tuple(f"{d}_{what}" for d in DOMAINS for what in ("val_loss", "accuracy"))


def train(
    settings: TrainSettings, streams: JointStreams, scheme: EmotionScheme, context: TrainContext
) -> Progress:
    """Train to ``settings.schedule``'s end, from the run's last checkpoint where there is one.

    Raises:
        TrainingError: when a loss is not finite, or the device has too little memory.
        CheckpointError: when what the run starts from does not fit.
    """
    schedule = settings.schedule
    trainee, progress = start(settings, scheme, context)
    while progress.epoch < schedule.epochs and not progress.has_stalled(schedule.patience):
        try:
            record = run_epoch(trainee, settings, streams, context, progress)
        except torch.OutOfMemoryError as error:
            raise out_of_memory(settings, progress.epoch + 1) from error
        progress.epoch, progress.step = record["epoch"], record["step"]
        progress.history.append(record)
        if context.rank == 0:
            logger.info(epoch_line(record, schedule.epochs))
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
        report(context, trainee.model, trainee.optimizer, manifest, progress)
    if context.rank == 0 and progress.epoch < schedule.epochs:
        logger.info("%s has not fallen for %s epochs: stopped", STOPS_BY, schedule.patience)
    return progress


def run_epoch(
    trainee: Trainee,
    settings: TrainSettings,
    streams: JointStreams,
    context: TrainContext,
    progress: Progress,
) -> dict[str, Any]:
    """Train and validate one epoch; its record."""
    started = time.perf_counter()
    epoch, step = progress.epoch, progress.step
    seed = epoch_seed(settings.seed, epoch, context.rank)
    torch.manual_seed(seed)
    changes = torch.Generator().manual_seed(seed)
    losses: dict[str, float] = {}
    images, busy = 0, 0.0
    for loss in epoch_passes(settings, epoch):
        watch = LossWatch(context, epoch + 1, settings.optimizer.learning_rate)
        label = f"epoch {epoch + 1}/{settings.schedule.epochs}"
        with closing(context.bar(label, streams.steps(epoch))) as bar:
            pace = Pace(streams.train(epoch), bar)
            step = train_pass(trainee, loss, settings, pace, changes, watch, step)
        losses = joined(losses, watch.means(), loss)  # waits for the device
        images, busy = images + pace.images, busy + pace.seconds()
    share_buffers(trainee.model, context)
    metrics = validate(trainee, settings, streams, context)
    if not all(math.isfinite(value) for value in metrics.values()):
        raise TrainingError(
            f"epoch {epoch + 1}: after step {step} the validation loss is not finite ({metrics}); "
            f"lower optimizer.learning_rate (now {settings.optimizer.learning_rate:g}); the last "
            f"checkpoint is {context.last_checkpoint()}"
        )
    return {
        "epoch": epoch + 1,
        "step": step,
        **losses,
        **metrics,
        "images_per_s": images * context.world_size / busy,
        "seconds": time.perf_counter() - started,
    }


def train_pass(
    trainee: Trainee,
    loss: JointLoss,
    settings: TrainSettings,
    batches: Iterator[JointBatch],
    changes: torch.Generator,
    watch: LossWatch,
    step: int,
) -> int:
    """One pass over batches, ``optimizer.accumulate`` of them a step; the last step's number.

    Args:
        changes: draws what augmentation does to the images.
    """
    trainee.wrapped.train()
    while group := list(islice(batches, settings.optimizer.accumulate)):
        step += 1
        moved = joint_on_device(group, settings, watch.context.device, changes)
        watch.add(step, optimizer_step(trainee, loss, moved, count=len(group)))
    return step


@torch.no_grad()
def validate(
    trainee: Trainee, settings: TrainSettings, streams: JointStreams, context: TrainContext
) -> dict[str, float]:
    """Loss and accuracy of each network on its domain's held-out fold, over all ranks."""
    trainee.model.eval()
    sums = Sums(context.device)
    for domain in DOMAINS:
        network = getattr(trainee.model, domain)
        for batch in streams.validation(domain):
            images, labels = on_device(batch, settings, context.device)
            with trainee.arithmetic(context.device):
                logits = network(images)
            total = F.cross_entropy(logits.float(), labels, reduction="sum")
            sums.add(f"{domain}_val_loss", total, len(labels))
            correct = (logits.argmax(1) == labels).sum()
            sums.add(f"{domain}_accuracy", correct.double(), len(labels))
    return sums.means(VALIDATION_NAMES, context.sum)


def joint_on_device(
    batches: Iterable[JointBatch],
    settings: TrainSettings,
    device: torch.device,
    changes: torch.Generator,
) -> Iterator[DeviceBatch]:
    """Training batches as a step wants them, augmented, moved one at a time."""
    for batch in batches:
        yield DeviceBatch(
            *on_device(batch.fer, settings, device, changes),
            *on_device(batch.ier, settings, device, changes),
        )


def on_device(
    batch: Batch,
    settings: TrainSettings,
    device: torch.device,
    changes: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Normalized images, or token ids, and labels on the device; pixels travel as uint8."""
    inputs = batch.images.to(device, non_blocking=True)
    labels = batch.labels.to(device, non_blocking=True)
    if settings.model.reads_captions:
        return inputs, labels
    images = to_unit_range(inputs)
    if changes is not None:
        images = augment(images, settings.data.augment, changes)
    return statistics(images, settings.data.normalization).apply(images), labels


def out_of_memory(settings: TrainSettings, epoch: int) -> DeviceMemoryError:
    """The error of a device with too little memory, with its remedy."""
    return DeviceMemoryError(
        f"epoch {epoch}: the device is out of memory with optimizer.batch_size "
        f"{settings.optimizer.batch_size}; lower it and raise optimizer.accumulate (now "
        f"{settings.optimizer.accumulate}) by the same factor: the same step in less memory. "
        f"optimizer.precision bfloat16 needs less too"
    )


def epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """Seed of an epoch's dropout and augmentation: resumed or not, a run draws the same."""
    return int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1, np.uint64)[0])


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """An epoch's record for people."""
    return (
        f"epoch {record['epoch']}/{epochs}  loss {record['total']:.3f} "
        f"(fer {record['fer']:.3f}, ier {record['ier']:.3f}, "
        f"discrepancy {record['discrepancy']:.3f})  "
        f"accuracy fer {record['fer_accuracy']:.3f}, ier {record['ier_accuracy']:.3f}  "
        f"{record['images_per_s']:.0f} images/s, {record['seconds']:.1f} s"
    )
