"""Test images that are explained, and the network whose predictions are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ier_ray import storage
from ier_ray.cluster.evaluation import choose_rows
from ier_ray.data.order import held_out_tasks
from ier_ray.data.shards import RowReader, ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import ExecuteReads
from ier_ray.experiments.in_process import train_in_process
from ier_ray.experiments.units import Unit
from ier_ray.explain import RegionTree
from ier_ray.explain.baselines import before_normalization
from ier_ray.training.checkpoint import (
    load_checkpoint,
    read_checkpoint_manifest,
    require_images,
)
from ier_ray.training.settings import TrainSettings


@dataclass(frozen=True)
class Explained:
    """An image, normalized, and the network's class that is explained.

    Attributes:
        network: in eval mode.
        image, baseline: ``(3, S, S)``.
        target: index of the class.
        cue: pixels of the evidence ``(S, S)``, where they are known.
        number: of the image, the seed of the random floor.
    """

    network: nn.Module
    image: Tensor
    baseline: Tensor
    target: int
    cue: NDArray[np.bool_] | None
    number: int

    def tree(self, depth: int) -> RegionTree:
        """Its regions."""
        height, width = self.image.shape[-2:]
        return RegionTree.halving(height, width, depth=depth)


@lru_cache(maxsize=1)
def trained_subject(training: str, reads: ExecuteReads) -> torch.nn.Module:
    """The IER network of a training, which is given as JSON; a process trains it once."""
    settings = TrainSettings.model_validate_json(training)
    with tempfile.TemporaryDirectory(prefix="ier_ray-subject-") as directory:
        _, checkpoint = train_in_process(settings, Path(directory), reads)
        model, _ = load_checkpoint(checkpoint)
    return model.ier.eval()


@lru_cache(maxsize=1)
def loaded_subject(checkpoint: str) -> torch.nn.Module:
    """The IER network of a checkpoint."""
    model, _ = load_checkpoint(checkpoint)
    return model.ier.eval()


def explaining(unit: Unit, checkpoint: str) -> Unit:
    """A unit that explains the network of a checkpoint, with that network's input.

    Raises:
        CheckpointError: when there is no checkpoint, or no IER network in it.
        DataError: when it was not trained with the unit's IER data.
    """
    location = storage.absolute(checkpoint)
    manifest = read_checkpoint_manifest(location)
    require_images(manifest, location, use="explained")
    ier = unit.train.data.location("ier")
    choose_rows(location, manifest, ier, domain="ier", parts=("test",))
    data = unit.train.data.model_copy(update={"normalization": manifest.normalization})
    train = unit.train.model_copy(update={"model": manifest.model, "data": data})
    return replace(unit, train=train, checkpoint=location, weights=manifest.weights_sha256)


def subject(unit: Unit, reads: ExecuteReads) -> torch.nn.Module:
    """The network that a unit explains."""
    if unit.checkpoint is not None:
        return loaded_subject(unit.checkpoint)
    return trained_subject(unit.train.model_dump_json(), reads)


def explained(
    unit: Unit, network: torch.nn.Module, count: int, reads: ExecuteReads
) -> Iterator[Explained]:
    """The first test images, with the class that the network predicts."""
    settings = unit.train
    shards = ShardSet.open(settings.data.location("ier"))
    if unit.checkpoint is None:
        rows = SplitIndex.read(shards, settings.split_plan("ier")).test.first(count)
    else:
        manifest = read_checkpoint_manifest(unit.checkpoint)
        chosen = choose_rows(
            unit.checkpoint, manifest, shards.location, domain="ier", parts=("test",)
        )
        rows = chosen.index.first(count)
    reader = settings.preprocessing.reader(shards.files, shards.scheme.classes)
    tasks = held_out_tasks(rows, rank=0, world_size=1, window=settings.data.shuffle_window)
    images = [image for batch in reads(reader, tasks, count) for image in batch["image"]]
    masks = RowReader.of(shards, 1).table(rows.positions, ["cue_mask"])["cue_mask"].to_pylist()
    baseline = before_normalization("black")
    for number, (pixels, mask) in enumerate(zip(images, masks, strict=True)):
        image, hidden = settings.preprocessing.image_and_baseline(
            torch.as_tensor(np.array(pixels)), baseline
        )
        with torch.inference_mode():
            target = int(network(image[None]).argmax())
        cue = None if mask is None else settings.preprocessing.decode_mask(mask)
        yield Explained(network, image, hidden, target, cue, number)


class Counter:
    """Counts the images that a network is given while the block runs."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.images = 0

    def __enter__(self) -> Counter:
        self._hook = self.network.register_forward_pre_hook(self._count)
        return self

    def __exit__(self, *exception: object) -> None:
        self._hook.remove()

    def _count(self, _: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        self.images += len(given[0])
