"""What the training loop needs, from a Ray Train worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import ray.train
import torch.distributed
from ray.experimental import tqdm_ray
from ray.train.torch import get_device, prepare_model
from torch import Tensor, nn
from tqdm import tqdm

from ier_ray import storage
from ier_ray.training.pace import Bar, Lines
from ier_ray.training.scalars import write_scalars

Track = Callable[[Sequence[Mapping[str, float]]], None]

DDP_OPTIONS = {"gradient_as_bucket_view": True}
"""Gradients lie where they are sent from: nothing is copied back after each step."""


class RayTrainContext:
    """The training loop's context on a Ray Train worker.

    Args:
        run: location of the run.
        terminal: whether the driver's user sees a terminal.
        track: shows epochs outside the run's storage; rank 0 calls it.
    """

    def __init__(self, run: str, *, terminal: bool, track: Track | None = None) -> None:
        self.run = run
        self.terminal = terminal
        self.track = track
        context = ray.train.get_context()
        self.rank = context.get_world_rank()
        self.world_size = context.get_world_size()
        self.device = get_device()

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model under DDP; as it is where there is one worker."""
        wrapped: nn.Module = prepare_model(model, parallel_strategy_kwargs=DDP_OPTIONS)
        return wrapped

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor added over all workers."""
        if self.world_size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def checkpoint(self) -> AbstractContextManager[Path | None]:
        """The run's last checkpoint, brought to this node."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return nullcontext(None)
        return LocalCopy(checkpoint)

    def last_checkpoint(self) -> str | None:
        """Where the run's last checkpoint is stored."""
        checkpoint = ray.train.get_checkpoint()
        return None if checkpoint is None else location_of(checkpoint)

    def bar(self, label: str, total: int) -> Bar:
        """Rank 0's progress: a bar that the driver draws, or lines where it has no terminal."""
        if self.rank != 0:
            return tqdm(disable=True)
        if self.terminal:
            bar: Bar = tqdm_ray.tqdm(desc=label, total=total, unit="batch")
            return bar
        return Lines(label, total)

    def report(self, metrics: dict[str, Any], directory: Path | None) -> None:
        """Report an epoch; Ray uploads rank 0's directory to the run's storage."""
        checkpoint = None
        if directory is not None:
            write_scalars(storage.join(self.run, "tensorboard"), metrics)
            if self.track:
                self.track([metrics])
            checkpoint = ray.train.Checkpoint.from_directory(str(directory))
        ray.train.report(metrics, checkpoint=checkpoint)


class LocalCopy(AbstractContextManager[Path | None]):
    """A Ray checkpoint as a local directory while it is read."""

    def __init__(self, checkpoint: ray.train.Checkpoint) -> None:
        self._directory = checkpoint.as_directory()

    def __enter__(self) -> Path:
        return Path(self._directory.__enter__())

    def __exit__(self, *exception: object) -> None:
        self._directory.__exit__(*exception)


def location_of(checkpoint: ray.train.Checkpoint) -> str:
    """A Ray checkpoint as a location of :mod:`ier_ray.storage`."""
    prefix = "s3://" if checkpoint.filesystem.type_name == "s3" else ""
    return f"{prefix}{checkpoint.path}"
