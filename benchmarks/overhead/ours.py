"""Our side: shards, settings, and the batches that both sides train on."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import ray
import torch
from PIL import Image

from ier_ray.cluster.connection import connect
from ier_ray.cluster.ingest import ingest
from ier_ray.cluster.streams import open_streams
from ier_ray.cluster.trainer import run_training
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain
from ier_ray.data.sources.folder import FolderSource
from ier_ray.data.streams import read_locally
from ier_ray.emotions import FOUR
from ier_ray.training.settings import TrainSettings
from overhead import EPOCHS, PREPARED, WORKERS, Lap

SIZE = 128


@dataclass(frozen=True)
class Ours:
    """What a run of either side needs."""

    settings: TrainSettings
    images: int
    """Images in one epoch, over all workers and both domains."""
    ray_s: float
    """Seconds that starting Ray took."""

    @classmethod
    def prepared(cls, directory: Path, *, pictures: int, rows_per_task: int) -> Ours:
        torch.set_num_threads(1)
        started = time.perf_counter()
        ray.init(
            "local",
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        connect()
        ray_s = time.perf_counter() - started
        shards = make_shards(directory, pictures, rows_per_task)
        settings = settings_of(shards, f"{directory}/runs")
        (directory / "settings.json").write_text(settings.model_dump_json())
        images = hold_batches(settings, directory)
        (directory / PREPARED).touch()
        return cls(settings, images, ray_s)

    def lap(self, name: str) -> Lap:
        result = run_training(self.settings.model_copy(update={"name": name}))
        inside = sum(record["seconds"] for record in result.history)
        last = result.history[-1]
        return Lap(last["images_per_s"], last["total"], result.seconds - inside)


def photograph(seed: int) -> Image.Image:
    """A square image with about the detail of a photograph."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    grain = generator.normal(0, 6, (SIZE, SIZE, 1))
    return Image.fromarray(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8))


def make_shards(directory: Path, count: int, rows_per_task: int) -> dict[Domain, str]:
    """JPEGs of the network's size, as `--resize` leaves them, in a shard set for each domain."""
    for number in range(count):
        folder = directory / "pictures" / FOUR.classes[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        photograph(number).save(folder / f"{number}.jpg", quality=90)
    domains: tuple[Domain, ...] = ("fer", "ier")
    locations = {domain: f"{directory}/{domain}" for domain in domains}
    for domain, location in locations.items():
        source = FolderSource(str(directory / "pictures"), domain=domain)
        layout = LayoutSettings(rows_per_group=rows_per_task, duplicates="keep")
        ingest(source, domain, location, scheme=FOUR, layout=layout)
    return locations


def settings_of(shards: dict[Domain, str], storage: str) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "storage": storage,
            "data": {**shards, "shuffle_window": 1},
            "model": {"image_size": SIZE, "width": 0.25},
            "optimizer": {"batch_size": 4, "learning_rate": 1e-4},
            # Both sides train from the same weights: those that the seed draws.
            "schedule": {"epochs": EPOCHS, "warmup_epochs": 0, "scale_new_layers": False},
            # Two cores: the workers keep both busy, reading runs beside them.
            "scaling": {"num_workers": WORKERS, "cpus_per_worker": 0.5},
        }
    )


def hold_batches(settings: TrainSettings, directory: Path) -> int:
    """Decode every rank's batches into files; returns the number of images in an epoch."""
    for rank in range(WORKERS):
        planned = open_streams(settings, rank=rank, world_size=WORKERS)
        streams = replace(planned, execute=read_locally)
        batches = [list(streams.train(epoch)) for epoch in range(EPOCHS)]
        torch.save(batches, directory / f"batches-{rank}.pt")
    return 2 * settings.optimizer.batch_size * WORKERS * len(batches[-1])
