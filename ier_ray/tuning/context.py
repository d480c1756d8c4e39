"""The training loop's context for a trial of one worker: no process group, its own checkpoints.

``RUN/epoch-000005`` is a checkpoint, complete when it has its manifest; the run is the trial, or a
fold of it. The newest one resumes the run; the best one keeps its weights only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ier_ray import storage
from ier_ray.training.checkpoint import MANIFEST, TRAINER_STATE
from ier_ray.training.context import ProgressBar
from ier_ray.tuning.history import best_epoch
from ier_ray.tuning.trial_log import TrialLog

Tell = Callable[[dict[str, Any]], None]
"""Is told the record of each epoch."""


@dataclass
class TrialContext:
    """One process with a device of its own, or a share of one.

    Attributes:
        log: the trial's record.
        directory: the run's, of the trial or of its fold.
        device: where the networks are.
        tell: told each epoch's record when its checkpoint is stored.
    """

    log: TrialLog
    directory: str
    device: torch.device
    tell: Sequence[Tell] = ()
    rank: int = 0
    world_size: int = 1

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model on the device."""
        return model.to(self.device)

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor itself: there is one rank."""
        return tensor

    @contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        """The run's newest checkpoint, as a local directory."""
        location = self.last_checkpoint()
        if location is None or not storage.is_remote(location):
            yield Path(location) if location else None
            return
        with TemporaryDirectory(prefix="ier_ray-checkpoint-") as directory:
            storage.copy_directory(location, directory)
            yield Path(directory)

    def last_checkpoint(self) -> str | None:
        """Where the run's newest complete checkpoint is stored."""
        for name in reversed(storage.list_directories(self.directory)):
            location = storage.join(self.directory, name)
            if name.startswith("epoch-") and storage.exists(storage.join(location, MANIFEST)):
                return location
        return None

    def bar(self, label: str, total: int) -> ProgressBar:  # noqa: ARG002
        """None: many trials run at once, and each logs its epochs."""
        return tqdm(disable=True)

    def report(self, metrics: dict[str, Any], directory: Path | None) -> None:
        """Record the epoch, then store its checkpoint; earlier checkpoints lose what is spare.

        In this order, an interruption leaves a record that is ahead of the checkpoints: the epoch
        is trained again and replaces its record. The newest checkpoint is always whole.
        """
        epoch = metrics["epoch"]
        self.log.add(metrics)
        if directory is not None:
            storage.copy_directory(str(directory), self.epoch_checkpoint(epoch))
        past = self.log.trained[:-1]
        if past:
            for earlier in {past[-1]["epoch"], best_epoch(past)["epoch"]}:
                self._thin_out(earlier)
        for tell in self.tell:
            tell(metrics)

    def should_stop(self, epoch: int) -> bool:
        """Whether the scheduler ends the trial after an epoch."""
        return self.log.should_stop(epoch)

    def epoch_checkpoint(self, epoch: int) -> str:
        """Where an epoch's checkpoint is stored."""
        return storage.join(self.directory, f"epoch-{epoch:06d}")

    def _thin_out(self, epoch: int) -> None:
        """Delete the checkpoint of an epoch that is past, but for the weights of the best."""
        location = self.epoch_checkpoint(epoch)
        if best_epoch(self.log.trained)["epoch"] == epoch:
            storage.delete_file(storage.join(location, TRAINER_STATE))
        else:
            storage.delete_directory(location)
