"""Training on a frozen trunk with its features cached, beside the same training without a cache.

Both sides read and decode the same shards in this process and take the same steps; the losses must
agree, which shows that it was the same training. The cached side computes the trunk in the first
epoch only, to which all images are new; the second epoch reads and decodes images,
looks their features up, and trains the heads. An epoch's seconds include its validation.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import DOMAINS, Domain
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import SyntheticSource
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.emotions import FOUR
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.settings import TrainSettings

BATCH = 16
EPOCHS = 2


def settings_of(shards: Mapping[Domain, str], size: int, width: float, gib: float) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "data": shards,
            "model": {"image_size": size, "width": width},
            "optimizer": {"batch_size": BATCH, "learning_rate": 1e-4, "trunk_factor": 0},
            "schedule": {"epochs": EPOCHS, "warmup_epochs": 0, "ier_start": "fer"},
            "scaling": {"trunk_cache_gib": gib},
        }
    )


def history(settings: TrainSettings, directory: Path) -> list[dict[str, Any]]:
    fer, ier = (
        SplitIndex.read(ShardSet.open(settings.data.location(domain)), settings.split_plan(domain))
        for domain in DOMAINS
    )
    streams = JointStreams(fer, ier, settings.preprocessing, batch_size=BATCH, seed=0)
    return train(settings, streams, FOUR, LocalContext(directory)).history


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few small images, under 50 s")
    quick = parser.parse_args().quick
    images, size, width = (120, 96, 0.125) if quick else (800, 224, 0.25)
    with tempfile.TemporaryDirectory() as name:
        source = SyntheticSource(samples=images // 2, size=size, seed=0)
        shards = {
            domain: write_shard_set(
                source, domain, f"{name}/{domain}", scheme=FOUR, layout=LayoutSettings()
            ).location
            for domain in DOMAINS
        }
        runs = {
            side: history(settings_of(shards, size, width, gib), Path(name) / side)
            for side, gib in (("cached", 4.0), ("plain", 0.0))
        }
    report(runs, images, size, width)


def report(runs: dict[str, list[dict[str, Any]]], images: int, size: int, width: float) -> None:
    for mine, theirs in zip(runs["cached"], runs["plain"], strict=True):
        if not math.isclose(mine["total"], theirs["total"], rel_tol=1e-3):
            raise SystemExit(
                f"not the same training: loss {mine['total']} beside {theirs['total']}"
            )
    print(
        f"emotion_net of width {width:g} at {size}x{size}, {images} images, frozen trunk, batches "
        f"of 2 x {BATCH}, {torch.get_num_threads()} threads"
    )
    print(f"{'':<10}{'epoch 1 s':>12}{'epoch 2 s':>12}{'1 : 2':>8}")
    record: dict[str, float] = {"images": images}
    for side, epochs in runs.items():
        seconds = [epoch["seconds"] for epoch in epochs]
        ratio = seconds[0] / seconds[1]
        print(f"{side:<10}" + "".join(f"{value:>12.2f}" for value in seconds) + f"{ratio:>8.2f}")
        record |= {f"{side}_epoch_1_s": seconds[0], f"{side}_epoch_2_s": seconds[1]}
        record[f"{side}_ratio"] = ratio
    record["second_epoch_speedup"] = record["plain_epoch_2_s"] / record["cached_epoch_2_s"]
    print(json.dumps(record))


if __name__ == "__main__":
    main()
