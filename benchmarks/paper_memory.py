"""Peak memory of a training process with configs/paper.yaml, measured by real optimizer steps.

Each row is a process of its own: the pair of networks at full width, Adam, two images of each
domain, two steps (the first creates Adam's moments, the second needs all memory at once), on the
CPU. ``worker`` wraps the model as training workers do: its gradients are views of DDP's buckets.
Beside it are ``ddp_default``, which keeps a copy of the gradients, and ``one_process`` without DDP.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ier_ray.cluster.worker import DDP_OPTIONS
from ier_ray.config import parse_settings, read_settings_file
from ier_ray.emotions import FOUR
from ier_ray.training.context import LocalContext
from ier_ray.training.schedule import epoch_passes
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import start
from ier_ray.training.step import DeviceBatch, optimizer_step

CONFIG = Path(__file__).parent.parent / "configs" / "paper.yaml"
BATCH, STEPS = 2, 2
GIB = 2**30

WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "worker": lambda model: DistributedDataParallel(model, **DDP_OPTIONS),
    "ddp_default": DistributedDataParallel,
    "one_process": lambda model: model,
}


class Wrapping(LocalContext):
    """One process that wraps the model in one of several ways."""

    how: str = "one_process"

    def wrap(self, model: nn.Module) -> nn.Module:
        return WRAPS[self.how](model)


def paper_settings(width: float) -> TrainSettings:
    values = read_settings_file(str(CONFIG))
    values["optimizer"]["batch_size"] = BATCH
    values["model"]["width"] = width
    values["schedule"]["pretrained"] = None  # these weights fill existing tensors: no more memory
    return parse_settings(TrainSettings, values, source=str(CONFIG))


def measure(how: str, width: float) -> dict[str, Any]:
    """Train in this process, which must be a new one: its peak memory is the result."""
    settings = paper_settings(width)
    with tempfile.TemporaryDirectory() as directory:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{directory}/store", rank=0, world_size=1
        )
        context = Wrapping(Path(directory))
        context.how = how
        state = start(settings, FOUR, context)
        loss = epoch_passes(settings, settings.schedule.warmup_epochs)[0]
        size = settings.model.image_size
        before = resident()
        started = time.perf_counter()
        for _ in range(STEPS):
            images, labels = torch.randn(2, BATCH, 3, size, size), torch.randint(4, (2, BATCH))
            batch = DeviceBatch(images[0], labels[0], images[1], labels[1])
            (parts,) = optimizer_step(state, loss, [batch], settings.optimizer, count=1)
        seconds = (time.perf_counter() - started) / STEPS
        torch.distributed.destroy_process_group()
    return {
        "weights": sum(p.numel() for p in state.model.parameters()),
        "before": before,
        "peak": resident(),
        "seconds": seconds,
        "loss": float(parts.total),
    }


def resident() -> int:
    """Peak resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the width, under 50 s")
    width = 0.25 if parser.parse_args().quick else 1.0
    print(f"{CONFIG.name}, width {width:g}, {BATCH} images of each domain, float32, CPU")
    print(f"{'':<14}{'peak GiB':>9}{'bytes/weight':>14}{'s/step':>8}{'loss':>8}", flush=True)
    found = {}
    for how in WRAPS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[how] = pool.apply(measure, (how, width))
        row = found[how]
        print(
            f"{how:<14}{row['peak'] / GIB:>9.2f}{row['peak'] / row['weights']:>14.1f}"
            f"{row['seconds']:>8.1f}{row['loss']:>8.3f}",
            flush=True,
        )
    record = {
        "weights": found["worker"]["weights"],
        **{f"{how}_peak_gib": row["peak"] / GIB for how, row in found.items()},
        "floor_gib": 16 * found["worker"]["weights"] / GIB,
        "ratio": found["worker"]["peak"] / found["ddp_default"]["peak"],
        "batch_size": BATCH,
        "width": width,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
