"""Joint training under Ray Train beside the same steps under plain torchrun.

Ours is `run_training` as a job runs it: shards read and decoded by Ray tasks, two workers, DDP over
gloo. Beside it two torchrun processes take the same steps on the same batches, decoded before the
clock starts and held in memory. Both sides train from the same weights with one thread a process,
in turn; the last epoch is measured, from its first batch to its last (of two epochs; with --quick,
of one). The losses of that epoch must agree: it was the same training. Read tasks are so small that
most of an epoch is read while it is trained, not before its first batch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import ray
import torch
import torch.distributed
from PIL import Image
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ier_ray.cluster.connection import connect
from ier_ray.cluster.ingest import LayoutSettings, ingest
from ier_ray.cluster.trainer import open_streams, run_training
from ier_ray.data.sources.folder import FolderSource
from ier_ray.data.streams import JointBatch, read_locally
from ier_ray.emotions import FOUR
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import joint_on_device
from ier_ray.training.passes import epoch_passes
from ier_ray.training.settings import TrainSettings
from ier_ray.training.start import start
from ier_ray.training.step import optimiser_step

WORKERS = 2
DOMAINS = ("fer", "ier")


@dataclass(frozen=True)
class Lap:
    """One run of one side."""

    images_per_s: float
    loss: float
    """Mean training loss of the measured epoch."""
    startup_s: float
    """All of the run that is not within an epoch: processes, model, closing."""


def photograph(seed: int) -> Image.Image:
    """An image of 320x256 with about the detail of a photograph."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 255, (16, 20, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((320, 256), Image.Resampling.BICUBIC)
    grain = generator.normal(0, 6, (256, 320, 1))
    return Image.fromarray(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8))


def make_shards(directory: Path, count: int, *, size: int, rows_per_group: int) -> dict[str, str]:
    """JPEGs of both domains in folders, ingested for a network of some size as `--resize` does."""
    for number in range(count):
        folder = directory / "pictures" / FOUR.classes[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        photograph(number).save(folder / f"{number}.jpg", quality=90)
    locations = {domain: f"{directory}/{domain}" for domain in DOMAINS}
    for domain, location in locations.items():
        source = FolderSource(str(directory / "pictures"), domain=domain)
        layout = LayoutSettings(rows_per_group=rows_per_group, resize=size * 256 // 224)
        ingest(source, domain, location, scheme=FOUR, layout=layout)
    return locations


def settings_of(shards: dict[str, str], storage: str, *, size: int, epochs: int) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "storage": storage,
            "data": {**shards, "shuffle_window": 1},
            "model": {"image_size": size, "width": 0.25},
            "optimizer": {"batch_size": 8, "learning_rate": 1e-4},
            "schedule": {"epochs": epochs, "warmup_epochs": 0},
            # Two cores: the workers keep both busy, reading runs beside them.
            "scaling": {"num_workers": WORKERS, "cpus_per_worker": 0.5},
        }
    )


def ours(settings: TrainSettings) -> Lap:
    result = run_training(settings)
    last = result.history[-1]
    inside = sum(record["seconds"] for record in result.history)
    return Lap(last["images_per_s"], last["total"], result.seconds - inside)


def torchrun(settings: TrainSettings, directory: Path) -> Lap:
    started = time.perf_counter()
    (directory / "settings.json").write_text(settings.model_dump_json())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={WORKERS}", __file__, "--rank-of", str(directory)]
    subprocess.run(command, check=True)
    found = json.loads((directory / "torchrun.json").read_text())
    seconds = time.perf_counter() - started
    return Lap(found["images_per_s"], found["loss"], seconds - found["inside_s"])


def torchrun_rank(directory: Path) -> None:
    """What each torchrun process runs: the plain loop."""
    settings = TrainSettings.model_validate_json((directory / "settings.json").read_text())
    batches: list[list[JointBatch]] = torch.load(
        directory / f"batches-{os.environ['RANK']}.pt", weights_only=False
    )
    torch.distributed.init_process_group("gloo")
    context = TorchrunContext(directory / "run")
    trainee, _ = start(settings, FOUR, context)
    trainee.wrapped.train()
    inside = 0.0
    for epoch, held in enumerate(batches):
        (loss,) = epoch_passes(settings, epoch)
        changes = torch.Generator()
        started = time.perf_counter()
        totals = []
        for batch in held:
            moved = joint_on_device([batch], settings, context.device, changes)
            totals += [part.total for part in optimiser_step(trainee, loss, moved, count=1)]
        seconds = time.perf_counter() - started
        inside += seconds
    mean = torch.stack(totals).double().mean()
    torch.distributed.all_reduce(mean)
    if torch.distributed.get_rank() == 0:
        images = 2 * settings.optimizer.batch_size * WORKERS * len(batches[-1])
        record = {"images_per_s": images / seconds, "loss": float(mean) / WORKERS}
        (directory / "torchrun.json").write_text(json.dumps({**record, "inside_s": inside}))
    torch.distributed.destroy_process_group()


class TorchrunContext(LocalContext):
    """No checkpoint; the model under DDP as torchrun's users wrap it."""

    def wrap(self, model: nn.Module) -> nn.Module:
        return DistributedDataParallel(model)


def hold_batches(settings: TrainSettings, directory: Path) -> int:
    """Decode every rank's batches of every epoch into files; images in an epoch."""
    for rank in range(WORKERS):
        planned = open_streams(settings, rank=rank, world_size=WORKERS)
        streams = replace(planned, execute=read_locally)
        batches = [list(streams.train(epoch)) for epoch in range(settings.schedule.epochs)]
        torch.save(batches, directory / f"batches-{rank}.pt")
    return 2 * settings.optimizer.batch_size * WORKERS * len(batches[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, under 50 s")
    parser.add_argument("--rank-of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.rank_of:
        torchrun_rank(arguments.rank_of)
        return
    count, rows, size, epochs, rounds = (
        (256, 16, 96, 1, 1) if arguments.quick else (640, 32, 128, 2, 3)
    )
    started = time.perf_counter()
    ray.init("local", num_cpus=WORKERS, logging_level="ERROR")
    connect()
    ray_s = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shards = make_shards(directory, count, size=size, rows_per_group=rows)
        settings = settings_of(shards, f"{directory}/runs", size=size, epochs=epochs)
        images = hold_batches(settings, directory)
        pairs = [
            (ours(settings.model_copy(update={"name": f"{lap}"})), torchrun(settings, directory))
            for lap in range(rounds)
        ]
    ray.shutdown()
    report(pairs, settings, images=images, ray_s=ray_s)


def report(
    pairs: list[tuple[Lap, Lap]], settings: TrainSettings, *, images: int, ray_s: float
) -> None:
    for mine, theirs in pairs:
        if abs(mine.loss - theirs.loss) > 1e-3 * abs(theirs.loss):
            raise SystemExit(f"not the same training: loss {mine.loss} beside {theirs.loss}")
    model = settings.model
    print(
        f"emotion_net of width {model.width:g} at {model.image_size}x{model.image_size}, "
        f"{WORKERS} processes of one thread, batches of 2 x {settings.optimizer.batch_size} from "
        f"JPEGs of {model.image_size * 256 // 224} pixels, {images} images in the measured epoch, "
        f"{len(pairs)} rounds"
    )
    columns: list[dict[str, Any]] = []
    for laps in zip(*pairs, strict=True):
        names = ("images_per_s", "startup_s", "loss")
        columns.append({n: statistics.median(getattr(lap, n) for lap in laps) for n in names})
    print(f"{'':<12}{'images/s':>10}{'start-up s':>12}{'loss':>10}")
    for label, column in zip(("Ray Train", "torchrun"), columns, strict=True):
        rate, startup, loss = column.values()
        print(f"{label:<12}{rate:>10.2f}{startup:>12.1f}{loss:>10.5f}")
    ratio = statistics.median(mine.images_per_s / theirs.images_per_s for mine, theirs in pairs)
    print(f"{'ratio':<12}{ratio:>10.3f}     (Ray itself started in {ray_s:.1f} s)")
    record = {
        "ours_images_per_s": columns[0]["images_per_s"],
        "torchrun_images_per_s": columns[1]["images_per_s"],
        "ratio": ratio,
        "ratios": [mine.images_per_s / theirs.images_per_s for mine, theirs in pairs],
        "ours_startup_s": columns[0]["startup_s"],
        "torchrun_startup_s": columns[1]["startup_s"],
        "ray_init_s": ray_s,
        "images": images,
        "images_per_step": 2 * settings.optimizer.batch_size * WORKERS,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
