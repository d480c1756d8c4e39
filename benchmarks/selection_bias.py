"""What choosing the best epoch on the images that are reported adds to the accuracy.

Pictures of noise with random labels: nothing can be learned from one part about another, so that an
honest figure is at chance. Every run is reported in two ways. `selected`, the former rule: the best
epoch's accuracy on the fold that chose it. `test`: the same epoch's accuracy on images that chose
nothing. The binomial tests are over the images of all runs.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import binomtest
from selecting import BestEpoch

from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources.base import Listed, Loaded
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.emotions import FOUR
from ier_ray.inference import Recognizer
from ier_ray.training.loop import train
from ier_ray.training.settings import TrainSettings

SIZE = 32
HELD_OUT = 97
"""Images of a fold, as ArtPhoto's."""
FOLDS = 5


@dataclass(frozen=True)
class Noise:
    """Pictures of noise; the labels are random, and as balanced as their number allows."""

    images: int
    seed: int
    name: str = "noise"
    domains: tuple[Domain, ...] = ("ier",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        labels = [FOUR.classes[number % len(FOUR.classes)] for number in range(self.images)]
        random.Random(self.seed).shuffle(labels)
        for number, label in enumerate(labels):
            yield Listed(f"noise-{self.seed}-{number}", label, f"noise-{self.seed}-{number}")

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        pixels = random.Random(sample.sample_id).randbytes(SIZE * SIZE * 3)
        picture = io.BytesIO()
        Image.frombytes("RGB", (SIZE, SIZE), pixels).save(picture, format="PNG")
        return Loaded(picture.getvalue(), None)


def run(seed: int, *, held_out: int, epochs: int, directory: Path) -> tuple[int, int]:
    """Images of the validation and of the test part that the selected epoch gets right."""
    source = Noise(held_out * FOLDS, seed)
    layout = LayoutSettings(folds=FOLDS, seed=seed, duplicates="keep")
    shards = ShardSet.open(
        write_shard_set(source, "ier", f"{directory}/ier", scheme=FOUR, layout=layout).location
    )
    settings = TrainSettings.model_validate(
        {
            "seed": seed,
            "data": {"ier": shards.location},
            "model": {"image_size": SIZE, "width": 0.05},
            "loss": {"balance": 0.0},
            "optimizer": {"learning_rate": 3e-3, "batch_size": 32},
            "schedule": {"networks": "ier", "epochs": epochs, "warmup_epochs": 0},
        }
    )
    split = SplitIndex.read(shards, settings.split_plan("ier"))
    streams = JointStreams(None, split, settings.preprocessing, batch_size=32, seed=seed)
    context = BestEpoch(directory)
    train(settings, streams, FOUR, context)
    best = Recognizer.load(f"{directory}/best", device="cpu")
    reader = settings.preprocessing.reader(split.files, shards.scheme.classes)
    (rows,) = reader.read(split.test.positions)
    right = best.probabilities(rows["image"]).argmax(1) == rows["label"]
    return round(max(record["score"] for record in context.history) * len(split.validation)), int(
        right.sum()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four short runs, under 50 s")
    quick = parser.parse_args().quick
    runs, epochs = (4, 6) if quick else (20, 20)
    torch.set_num_threads(2)
    started = time.perf_counter()
    right = []
    for seed in range(runs):
        with tempfile.TemporaryDirectory() as name:
            right.append(run(seed, held_out=HELD_OUT, epochs=epochs, directory=Path(name)))
        print(f"run {seed}: selected {right[-1][0]}, test {right[-1][1]} of {HELD_OUT}", flush=True)
    record: dict[str, Any] = {"runs": runs, "epochs": epochs, "held_out": HELD_OUT}
    for name, hits in zip(("selected", "test"), np.transpose(right).tolist(), strict=True):
        found = binomtest(sum(hits), runs * HELD_OUT, 1 / len(FOUR.classes))
        low, high = found.proportion_ci()
        record |= {f"{name}_accuracy": sum(hits) / (runs * HELD_OUT), f"{name}_p": found.pvalue}
        print(
            f"{name:<9} accuracy {sum(hits) / (runs * HELD_OUT):.4f} [{low:.4f}, {high:.4f}], "
            f"chance 0.25: p = {found.pvalue:.3g}"
        )
    print(json.dumps(record | {"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
