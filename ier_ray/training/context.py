"""Interfaces between the training loop and its environment: a context and streams of batches."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ier_ray.data.provenance import DomainData, SeenRows
from ier_ray.data.schema import Domain
from ier_ray.data.streams import Batch, JointBatch


class Streams(Protocol):
    """The batches of one rank; :class:`~ier_ray.data.streams.JointStreams` reads shard sets."""

    def steps(self, epoch: int) -> int:
        """Batches of :meth:`train`, the same on every rank."""

    def train(self, epoch: int) -> Iterator[JointBatch]:
        """The training batches of an epoch (from 0); the same at every call."""

    def validation(self, domain: Domain) -> Iterator[Batch]:
        """This rank's part of a domain's held-out samples, each once."""

    @property
    def data(self) -> Mapping[Domain, DomainData]:
        """Each domain's data and how it was divided; stored in every checkpoint."""

    @property
    def seen(self) -> SeenRows:
        """The rows that train or select; stored in every checkpoint."""


class ProgressBar(Protocol):
    """Display of a pass's progress: the part of tqdm's interface that is used."""

    def update(self, n: int = 1, /) -> object:
        """Advance by ``n`` batches."""

    def close(self) -> object:
        """End the display."""


class TrainContext(Protocol):
    """A rank of ``world_size``, its device, and where it sends reports and checkpoints."""

    rank: int
    world_size: int
    device: torch.device

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, on the device, with gradients averaged over ranks."""

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor added over all ranks."""

    def checkpoint(self) -> AbstractContextManager[Path | None]:
        """The last checkpoint directory of this run, or None at its first start."""

    def last_checkpoint(self) -> str | None:
        """Location of the run's last checkpoint, for messages."""

    def bar(self, label: str, total: int) -> ProgressBar:
        """A display of the progress of a pass over ``total`` batches."""

    def report(self, metrics: dict[str, Any], directory: Path | None) -> None:
        """End an epoch. Every rank calls it; rank 0 brings a checkpoint directory."""

    def should_stop(self, epoch: int) -> bool:
        """Whether a sweep ends this run after an epoch. Every rank calls it; all get one answer."""


@torch.no_grad()
def share_buffers(model: nn.Module, context: TrainContext) -> None:
    """Copy rank 0's buffers, which the checkpoint stores, to every rank.

    DDP does so before each forward pass but not after the last one, which leaves each rank with
    the running statistics of its own last batch.
    """
    share_tensors(model.buffers(), context)


@torch.no_grad()
def share_tensors(tensors: Iterable[Tensor], context: TrainContext) -> None:
    """Copy rank 0's tensors into those of every rank."""
    if context.world_size > 1:
        for tensor in tensors:
            own = tensor if context.rank == 0 else torch.zeros_like(tensor)
            tensor.copy_(context.sum(own.clone()))


@dataclass
class LocalContext:
    """One process without a cluster, for tests and benchmarks.

    Keeps the newest checkpoint in ``directory/last`` and every report in ``history``.
    """

    directory: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    history: list[dict[str, Any]] = field(default_factory=list)
    rank: int = 0
    world_size: int = 1

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model on the device."""
        return model.to(self.device)

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor itself: there is one rank."""
        return tensor

    def checkpoint(self) -> AbstractContextManager[Path | None]:
        """``directory/last`` where it exists."""
        last = self.directory / "last"
        return nullcontext(last if last.exists() else None)

    def last_checkpoint(self) -> str | None:
        """``directory/last`` where it exists."""
        last = self.directory / "last"
        return str(last) if last.exists() else None

    def bar(self, label: str, total: int) -> ProgressBar:
        """A progress bar in a terminal, nothing elsewhere."""
        return tqdm(total=total, desc=label, unit="batch", leave=False, disable=None)

    def report(self, metrics: dict[str, Any], directory: Path | None) -> None:
        """Record the metrics and keep the checkpoint as ``directory/last``."""
        self.history.append(metrics)
        if directory is not None:
            shutil.rmtree(self.directory / "last", ignore_errors=True)
            shutil.copytree(directory, self.directory / "last")

    def should_stop(self, epoch: int) -> bool:  # noqa: ARG002
        """Never: this run belongs to no sweep."""
        return False
