"""Decode, resize and collate into one consumer: our stream beside a plain torch DataLoader.

Both read the same JPEGs with the same decoding function and number of workers, in turn in one run.
Throughput is measured from the first batch to the last; the wait for the first is reported
separately.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import ray
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ier_ray.cluster.connection import connect
from ier_ray.cluster.ingest import ingest
from ier_ray.cluster.streams import read_on_cluster, tasks_ahead
from ier_ray.data.images import decode_square
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.order import epoch_order, rank_tasks
from ier_ray.data.schema import Domain
from ier_ray.data.shards import RowReader, ShardSet
from ier_ray.data.sources import Listed, Loaded
from ier_ray.emotions import FOUR
from ier_ray.training.sections import DataSettings

WORKERS, BATCH, SIZE = 2, 32, 224
LAPS = 6
"""Times each image is read in a round, so that a round is long enough to be measured."""
WINDOW = DataSettings.model_fields["shuffle_window"].default


@dataclass(frozen=True)
class Photographs:
    """JPEGs of 320x256 with about the detail and size of photographs."""

    count: int
    name: str = "photographs"

    @property
    def domains(self) -> tuple[Domain, ...]:
        return ("ier",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        for number in range(self.count):
            yield Listed(f"photo-{number}", FOUR.classes[number % 4], f"photo-{number}")

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        return Loaded(photograph(int(sample.sample_id.split("-")[1])), None)


def photograph(seed: int) -> bytes:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 255, (16, 20, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((320, 256), Image.Resampling.BICUBIC)
    grain = generator.normal(0, 6, (256, 320, 1))
    pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


class Decoded(Dataset[torch.Tensor]):
    """The same bytes for the DataLoader, held in memory: it reads nothing from disk."""

    def __init__(self, encoded: list[bytes]) -> None:
        self._encoded = encoded

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(decode_square(self._encoded[index], SIZE))


def measure(batches: Iterable[Any], started: float) -> tuple[float, float]:
    """Images per second after the first batch, and seconds until it."""
    first_at, images = 0.0, 0
    for batch in batches:
        if not first_at:
            first_at = time.perf_counter()
            continue
        images += len(batch)
    return images / (time.perf_counter() - first_at), first_at - started


def ours(shards: ShardSet, epoch: int, laps: int = LAPS) -> tuple[float, float]:
    started = time.perf_counter()
    index = shards.index()
    order = epoch_order(index, seed=0, epoch=epoch, balance=0.0, window=WINDOW)
    steps = laps * len(index) // BATCH
    tasks = rank_tasks(index, order, rank=0, world_size=1, batch_size=BATCH, steps=steps)
    reader = RowReader.of(shards, SIZE)
    stream = read_on_cluster(reader, tasks, BATCH, ahead=tasks_ahead(reader, tasks))
    return measure((torch.as_tensor(np.array(batch["image"])) for batch in stream), started)


def dataloader(encoded: list[bytes]) -> tuple[float, float]:
    started = time.perf_counter()
    images = Decoded(encoded * LAPS)
    loader = DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=WORKERS)
    return measure(loader, started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds, under 50 s")
    quick = parser.parse_args().quick
    count, rounds = (1536, 2) if quick else (6144, 5)
    torch.set_num_threads(1)
    ray.init("local", num_cpus=WORKERS, logging_level="ERROR")
    connect()
    with tempfile.TemporaryDirectory() as directory:
        source = Photographs(count)
        layout = LayoutSettings(rows_per_shard=512, duplicates="keep")
        ingest(source, "ier", f"{directory}/ier", scheme=FOUR, layout=layout)
        shards = ShardSet.open(f"{directory}/ier")
        encoded = [photograph(number) for number in range(count)]
        ours(shards, 0, laps=1)  # start the workers
        pairs = [(ours(shards, epoch), dataloader(encoded)) for epoch in range(rounds)]
    ray.shutdown()
    report(pairs, count)


def report(pairs: list[tuple[tuple[float, float], tuple[float, float]]], count: int) -> None:
    print(
        f"{count} JPEGs of 320x256 to {SIZE}x{SIZE}, {LAPS} times per round, "
        f"{WORKERS} workers, batches of {BATCH}"
    )
    print(f"{'':<12}{'images/s':>10}{'first batch s':>16}")
    columns = list(zip(*pairs, strict=True))
    medians = [
        [statistics.median(part) for part in zip(*column, strict=True)] for column in columns
    ]
    for name, (rate, first) in zip(("ours", "DataLoader"), medians, strict=True):
        print(f"{name:<12}{rate:>10.0f}{first:>16.2f}")
    ratio = statistics.median(mine[0] / theirs[0] for mine, theirs in pairs)
    print(f"{'ratio':<12}{ratio:>10.2f}")
    record = {
        "ours_images_per_s": medians[0][0],
        "dataloader_images_per_s": medians[1][0],
        "ratio": ratio,
        "ours_first_batch_s": medians[0][1],
        "dataloader_first_batch_s": medians[1][1],
        "images": count,
        "workers": WORKERS,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
