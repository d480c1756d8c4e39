"""What each torchrun process of train_overhead.py runs: the plain loop over batches in memory."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path

import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ier_ray.data.augmentation import augment
from ier_ray.data.streams import JointBatch
from ier_ray.emotions import FOUR
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import on_device
from ier_ray.training.schedule import epoch_passes
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import start
from ier_ray.training.step import optimizer_step
from overhead import GO, PREPARED, READY


class TorchrunContext(LocalContext):
    """A context that wraps the model in DDP as users of torchrun do."""

    def wrap(self, model: nn.Module) -> nn.Module:
        return DistributedDataParallel(model)


def wait_for(sign: Path) -> float:
    """Wait until a file exists; returns the seconds waited."""
    started = time.perf_counter()
    while not sign.exists():
        time.sleep(0.1)
    return time.perf_counter() - started


def main(directory: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    waited = wait_for(directory / PREPARED)
    settings = TrainSettings.model_validate_json((directory / "settings.json").read_text())
    epochs: list[list[JointBatch]] = torch.load(
        directory / f"batches-{rank}.pt", weights_only=False
    )
    state = start(settings, FOUR, TorchrunContext(directory / "run"))
    (directory / READY[rank]).touch()
    wait_for(directory / GO)
    augmented = partial(augment, settings=settings.data.augment, generator=torch.Generator())
    state.wrapped.train()
    inside = 0.0
    for epoch, batches in enumerate(epochs):
        (loss,) = epoch_passes(settings, epoch)
        totals, ends = [], [time.perf_counter()]
        for batch in batches:
            moved = on_device([batch], settings.preprocessing, torch.device("cpu"), augmented)
            parts = optimizer_step(state, loss, moved, settings.optimizer, count=1)
            totals += [part.total for part in parts]
            ends.append(time.perf_counter())
        inside += ends[-1] - ends[0]
    mean = torch.stack(totals).double().mean()
    torch.distributed.all_reduce(mean)
    if rank == 0:
        world = torch.distributed.get_world_size()
        images = 2 * settings.optimizer.batch_size * world * (len(batches) - 1)
        record = {
            "images_per_s": images / (ends[-1] - ends[1]),
            "loss": float(mean) / world,
            "inside_s": inside,
            "waited_s": waited,
        }
        (directory / "torchrun.json").write_text(json.dumps(record))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
