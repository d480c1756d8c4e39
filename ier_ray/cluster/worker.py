"""The function that each Ray Train worker runs, and its context for the training loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray.train
import torch
import torch.distributed
from ray.experimental import tqdm_ray
from ray.train.torch import get_device, prepare_model
from torch import Tensor, nn
from tqdm import tqdm

from ier_ray import storage
from ier_ray.cluster.connection import quiet_data
from ier_ray.cluster.logs import show_in_job
from ier_ray.cluster.streams import open_streams
from ier_ray.errors import DeviceMemoryError, IerRayError, StorageError, TrainingError
from ier_ray.training.context import ProgressBar
from ier_ray.training.loop import epoch_logger, train
from ier_ray.training.meters import LoggedProgress
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import RunProgress
from ier_ray.training.tracking import log_epochs, write_scalars
from ier_ray.tuning.trial_log import TrialLog

Track = Callable[[Sequence[Mapping[str, float]]], None]
"""Logs epochs' records to a tracking server."""

DDP_OPTIONS: dict[str, Any] = {"gradient_as_bucket_view": True}
"""Gradients are views of the communication buckets: no copy after each all-reduce."""


def train_worker(config: dict[str, Any]) -> RunProgress | IerRayError:
    """Train on one rank. An error that every rank meets is returned: a retry would not help.

    Any other is raised, since ranks that did not meet it wait for this one: only Ray can stop them.
    """
    logging.getLogger().setLevel(logging.WARNING)  # Ray logs every report through the root logger
    trial: TrialLog | None = config["trial"]
    show_in_job(trial.record.name if trial else None)
    if trial:
        epoch_logger.setLevel(logging.WARNING)  # the driver logs the trial's epochs
    quiet_data()
    settings = TrainSettings.model_validate(config["settings"])
    run = storage.join(settings.storage, settings.name)
    context = RayTrainContext(
        run,
        terminal=config["terminal"],
        track=partial(log_epochs, settings.tracking, config["mlflow_run"]),
        trial=trial and trial.reopened(),
    )
    try:
        streams = open_streams(settings, rank=context.rank, world_size=context.world_size)
        return train(settings, streams, streams.scheme, context)
    except StorageError:
        raise  # may pass
    except IerRayError as error:
        met_by_all = isinstance(error, TrainingError) and not isinstance(error, DeviceMemoryError)
        if context.world_size == 1 or met_by_all:
            return error
        raise


class RayTrainContext:
    """The training loop's context on a Ray Train worker.

    Args:
        run: location of the run.
        terminal: whether the driver's standard error is a terminal.
        track: logs epochs to a tracking server; called on rank 0 only.
        trial: the trial of a sweep that the run is.
    """

    def __init__(
        self,
        run: str,
        *,
        terminal: bool,
        track: Track | None = None,
        trial: TrialLog | None = None,
    ) -> None:
        self.run = run
        self.terminal = terminal
        self.track = track
        self.trial = trial
        context = ray.train.get_context()
        self.rank = context.get_world_rank()
        self.world_size = context.get_world_size()
        self.device = get_device()

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model on the device, under DDP if there are several workers."""
        wrapped: nn.Module = prepare_model(model, parallel_strategy_kwargs=DDP_OPTIONS)
        return wrapped

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor added over all workers."""
        if self.world_size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def checkpoint(self) -> AbstractContextManager[Path | None]:
        """The run's last checkpoint, on this node. All ranks call it and use it."""
        location = self.last_checkpoint()
        if location is None:
            return nullcontext(None)
        if not storage.is_remote(location):
            return nullcontext(Path(location))
        return local_copy(location)

    def last_checkpoint(self) -> str | None:
        """Where the run's last checkpoint is stored."""
        checkpoint = ray.train.get_checkpoint()
        return None if checkpoint is None else checkpoint_location(checkpoint)

    def bar(self, label: str, total: int) -> ProgressBar:
        """Rank 0's progress: a bar drawn by the driver, or log lines if it has no terminal."""
        if self.rank != 0:
            return tqdm(disable=True)
        if self.terminal:
            bar: ProgressBar = tqdm_ray.tqdm(desc=label, total=total, unit="batch")
            return bar
        return LoggedProgress(label, total)

    def report(self, metrics: dict[str, Any], directory: Path | None) -> None:
        """Report an epoch; Ray uploads rank 0's directory to the run's storage."""
        checkpoint = None
        if directory is not None:
            write_scalars(storage.join(self.run, "tensorboard"), metrics)
            if self.track:
                self.track([metrics])
            if self.trial:
                self.trial.add(metrics)
            checkpoint = ray.train.Checkpoint.from_directory(str(directory))
        ray.train.report(metrics, checkpoint=checkpoint)

    def should_stop(self, epoch: int) -> bool:
        """Whether the scheduler of the sweep ends the run after an epoch, by rank 0's answer."""
        if self.trial is None:
            return False
        stops = self.rank == 0 and self.trial.should_stop(epoch)
        return bool(self.sum(torch.tensor(float(stops), device=self.device)).item())


@contextmanager
def local_copy(location: str) -> Iterator[Path]:
    """A checkpoint of an object store as a local directory: one copy per node, for all its ranks.

    Every rank of the run calls it. All get a whole copy or none does: Ray's own
    ``Checkpoint.as_directory`` gives the other ranks what is left of a copy that failed, and may
    delete one that another rank is about to read.

    Raises:
        StorageError: on all ranks, when a node cannot copy the checkpoint.
    """
    context = ray.train.get_context()
    with ExitStack() as stack:
        copy: str | StorageError | None = None
        if context.get_local_rank() == 0:
            directory = stack.enter_context(TemporaryDirectory(prefix="ier_ray-checkpoint-"))
            copy = copied(location, directory)
        copies = gathered((context.get_node_rank(), copy))
        for _, found in copies:
            if isinstance(found, StorageError):
                raise found
        yield Path({node: str(found) for node, found in copies if found}[context.get_node_rank()])
        gathered(None)  # nobody reads it any more


def copied(location: str, directory: str) -> str | StorageError:
    """The directory that the checkpoint was copied to, or why it was not."""
    try:
        storage.copy_directory(location, directory)
    except StorageError as error:
        return error
    return directory


def gathered(value: Any) -> list[Any]:
    """Every rank's value, by rank."""
    count = ray.train.get_context().get_world_size()
    values = [value] * count
    if count > 1:
        torch.distributed.all_gather_object(values, value)
    return values


def checkpoint_location(checkpoint: ray.train.Checkpoint) -> str:
    """The location (see :mod:`ier_ray.storage`) of a Ray checkpoint."""
    prefix = "s3://" if checkpoint.filesystem.type_name == "s3" else ""
    return f"{prefix}{checkpoint.path}"
