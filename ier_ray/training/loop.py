"""Joint training of both networks: the same loop in one process and on every rank."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

from ier_ray.data.augmentation import augment, mirrored
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.provenance import SeenRows
from ier_ray.data.schema import DOMAINS, Domain
from ier_ray.data.streams import Batch, JointBatch
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DeviceMemoryError, TrainingError
from ier_ray.models.classifier import DividedClassifier, EmotionClassifier
from ier_ray.training.checkpoint import CheckpointManifest, read_seen_rows
from ier_ray.training.context import Streams, TrainContext, share_buffers
from ier_ray.training.initialization import initialize_new_layers
from ier_ray.training.learning_rate import learning_rate
from ier_ray.training.meters import LossWatch, Sums, ThroughputMeter, gathered
from ier_ray.training.optimization import autocast, set_learning_rate, set_train_mode
from ier_ray.training.schedule import epoch_passes, merge_losses
from ier_ray.training.selection import CRITERIA, OfLogits, label_free_scores
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import RunProgress, TrainState, report, start
from ier_ray.training.step import DeviceBatch, optimizer_step
from ier_ray.training.trunk_cache import TrunkCache

logger = logging.getLogger(__name__)
epoch_logger = logging.getLogger(f"{__name__}.epochs")
"""Logs one line per epoch; silenced where epochs are reported in another way."""


def train(
    settings: TrainSettings, streams: Streams, scheme: EmotionScheme, context: TrainContext
) -> RunProgress:
    """Train until ``settings.schedule`` or the context ends the run, from its last checkpoint.

    Raises:
        TrainingError: when a loss is not finite, or the device has too little memory.
        CheckpointError: when the checkpoint or weights that the run starts from do not fit.
    """
    schedule = settings.schedule
    state = start(settings, scheme, context)
    seen = rows_seen(settings, streams)
    progress = state.progress
    while not (progress.is_complete(schedule) or context.should_stop(progress.epoch)):
        try:
            record = run_epoch(state, settings, streams, context)
        except torch.OutOfMemoryError as error:
            raise out_of_memory(settings, progress.epoch + 1) from error
        progress.epoch, progress.step = record["epoch"], record["step"]
        progress.history.append(record)
        if context.rank == 0:
            epoch_logger.info(epoch_line(record, schedule.epochs))
        manifest = CheckpointManifest(
            model=settings.model,
            networks=settings.domains,
            scheme=scheme.name,
            classes=list(scheme.classes),
            normalization=settings.data.normalization,
            epoch=progress.epoch,
            step=progress.step,
            metrics={name: record[name] for name in metric_names(settings)},
            seed=settings.seed,
            criterion=settings.criterion,
            score=record["score"],
            data=streams.data,
        )
        report(context, state, manifest, seen)
    if context.rank == 0 and progress.has_stalled(schedule.patience):
        logger.info(
            "stopped early: %s has not improved for %s epochs",
            settings.criterion,
            schedule.patience,
        )
    return progress


def rows_seen(settings: TrainSettings, streams: Streams) -> SeenRows:
    """The rows that train or select this run's weights, and those of the weights it starts from."""
    source = settings.schedule.fer_checkpoint
    return streams.seen if source is None else streams.seen.joined(read_seen_rows(source))


def run_epoch(
    state: TrainState, settings: TrainSettings, streams: Streams, context: TrainContext
) -> dict[str, Any]:
    """Train and validate one epoch; returns its record.

    A step takes ``optimizer.accumulate`` batches.
    """
    started = time.perf_counter()
    epoch, step = state.progress.epoch, state.progress.step
    seed = epoch_seed(settings.seed, epoch, context.rank)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    augmented = partial(augment, settings=settings.data.augment, generator=generator)
    turned = partial(mirrored, settings=settings.data.augment, generator=generator)
    losses: dict[str, float] = {}
    images, busy = 0, 0.0
    passes, steps, batches_done = epoch_passes(settings, epoch), streams.steps(epoch), 0
    for loss in passes:
        set_train_mode(state.wrapped)
        watch = LossWatch(context, epoch + 1, settings.optimizer.learning_rate)
        label = f"epoch {epoch + 1}/{settings.schedule.epochs}"
        with closing(context.bar(label, steps)) as bar:
            meter = ThroughputMeter(streams.train(epoch), bar)
            while group := list(islice(meter, settings.optimizer.accumulate)):
                if step == 0:
                    initialize_new_layers(state.model, settings, group, context)
                part = batches_done / (steps * len(passes))
                set_step_rate(state, settings, step=step, part=part)
                step, batches_done = step + 1, batches_done + len(group)
                if state.cache is not None:
                    batches = features_on_device(group, state.cache, turned)
                else:
                    batches = on_device(group, settings.preprocessing, context.device, augmented)
                watch.add(
                    step, optimizer_step(state, loss, batches, settings.optimizer, count=len(group))
                )
        losses = merge_losses(losses, watch.means(), loss)  # waits for the device
        images, busy = images + meter.images, busy + meter.seconds()
    share_buffers(state.model, context)
    if state.averaged is not None:
        share_buffers(state.averaged.module, context)
    metrics = validate(state, settings, streams, context)
    if not all(math.isfinite(value) for value in metrics.values()):
        raise TrainingError(
            f"epoch {epoch + 1}: after step {step} the validation loss is not finite ({metrics}); "
            f"lower optimizer.learning_rate (now {settings.optimizer.learning_rate:g}); the last "
            f"checkpoint is {context.last_checkpoint()}"
        )
    absent = set(DOMAINS) - set(settings.domains)
    return {
        "epoch": epoch + 1,
        "step": step,
        **{name: loss for name, loss in losses.items() if name not in absent},
        **metrics,
        "images_per_s": images * context.world_size / busy,
        "seconds": time.perf_counter() - started,
    }


def set_step_rate(state: TrainState, settings: TrainSettings, *, step: int, part: float) -> None:
    """Set the learning rate of the next step; ``part`` is the fraction of the epoch before it."""
    rate = learning_rate(
        settings.optimizer,
        step=step,
        progress=(state.progress.epoch + part) / settings.schedule.epochs,
        scores=[record["score"] for record in state.progress.history],
    )
    set_learning_rate(state.optimizer, rate)


def metric_names(settings: TrainSettings) -> tuple[str, ...]:
    """Validation metrics of an epoch: of the domains whose labels the run may read."""
    labeled = [domain for domain in settings.domains if settings.reads_labels(domain)]
    return tuple(f"{domain}_{what}" for domain in labeled for what in ("val_loss", "accuracy"))


@torch.no_grad()
def validate(
    state: TrainState, settings: TrainSettings, streams: Streams, context: TrainContext
) -> dict[str, float]:
    """Loss and accuracy of each network on its domain's validation rows, over all ranks.

    ``score`` is the value of the selection criterion. Where IER labels may not be read, the metrics
    of ``ier`` are absent. The label-free criteria are there whenever ``ier`` is trained.
    """
    model = state.evaluated.eval()
    sums = Sums(context.device)
    unlabeled = []
    for domain, network in model.networks.items():
        labeled = settings.reads_labels(domain)
        for batch in streams.validation(domain):
            logits = validation_logits(state, settings, context, domain, network, batch)
            if domain == "ier":
                unlabeled.append(logits)
            if labeled:
                labels = batch.labels.to(context.device, non_blocking=True)
                total = F.cross_entropy(logits, labels, reduction="sum")
                sums.add(f"{domain}_val_loss", total, len(labels))
                correct = (logits.argmax(1) == labels).sum()
                sums.add(f"{domain}_accuracy", correct.double(), len(labels))
    metrics = sums.means(metric_names(settings), context.sum)
    if "ier" in model.networks:
        metrics |= label_free_scores(gathered(unlabeled, context).double().cpu().numpy())
    criterion = CRITERIA[settings.criterion]
    if isinstance(criterion, OfLogits):
        return {**metrics, "score": metrics[settings.criterion]}
    epoch = float(state.progress.epoch + 1)
    return {**metrics, "score": criterion.score({**metrics, "epoch": epoch})}


def validation_logits(
    state: TrainState,
    settings: TrainSettings,
    context: TrainContext,
    domain: Domain,
    network: EmotionClassifier,
    batch: Batch,
) -> Tensor:
    """Logits in float32 of a validation batch; behind a frozen trunk, from its cached features."""
    if state.cache is not None:
        forward = cast("DividedClassifier", network).head
        inputs = state.cache.features(domain, batch)
    else:
        stored = batch.images.to(context.device, non_blocking=True)
        forward, inputs = network, settings.preprocessing.inputs(stored)
    with autocast(context.device, settings.optimizer):
        return forward(inputs).float()


def on_device(
    batches: Iterable[JointBatch],
    preprocessing: Preprocessing,
    device: torch.device,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[DeviceBatch]:
    """Batches moved to the device and augmented one at a time.

    Pixels are copied to the device as uint8.
    """
    for joint in batches:
        moved = []
        for batch in (joint.fer, joint.ier):
            stored = batch.images.to(device, non_blocking=True)
            labels = batch.labels.to(device, non_blocking=True)
            if len(labels):  # else it is for a network that the run does not have
                stored = preprocessing.inputs(stored, augment=augment)
            moved += [stored, labels]
        yield DeviceBatch(*moved)


def features_on_device(
    batches: Iterable[JointBatch], cache: TrunkCache, mirrored: Callable[[int], Tensor]
) -> Iterator[DeviceBatch]:
    """Batches on the device, with the features of a frozen trunk in place of images.

    Args:
        mirrored: which of a number of images are mirrored.
    """
    for joint in batches:
        moved = []
        for domain in DOMAINS:
            batch = getattr(joint, domain)
            labels = batch.labels.to(cache.device, non_blocking=True)
            drawn = mirrored(len(labels)) if len(labels) else None
            moved += [cache.features(domain, batch, drawn), labels]
        yield DeviceBatch(*moved)


def out_of_memory(settings: TrainSettings, epoch: int) -> DeviceMemoryError:
    """The error for a device with too little memory, with the remedy."""
    return DeviceMemoryError(
        f"epoch {epoch}: the device is out of memory with optimizer.batch_size "
        f"{settings.optimizer.batch_size}; lower it and raise optimizer.accumulate (now "
        f"{settings.optimizer.accumulate}) by the same factor: the same step in less memory. "
        f"optimizer.precision bfloat16 needs less too"
    )


def epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """Seed of an epoch's dropout and augmentation, the same whether the run was resumed or not."""
    return int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1, np.uint64)[0])


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """An epoch's record as a log line."""
    domains = [domain for domain in DOMAINS if domain in record]
    losses = ", ".join(f"{name} {record[name]:.3f}" for name in (*domains, "discrepancy"))
    found = ((domain, record.get(f"{domain}_accuracy")) for domain in domains)
    accuracies = ", ".join(f"{domain} {value:.3f}" for domain, value in found if value is not None)
    return (
        f"epoch {record['epoch']}/{epochs}  loss {record['total']:.3f} ({losses})  "
        f"accuracy {accuracies}  "
        f"{record['images_per_s']:.0f} images/s, {record['seconds']:.1f} s"
    )
