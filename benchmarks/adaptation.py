"""Joint training with the discrepancy, beside its controls, on the synthetic data.

Each row of the table is the mean and standard deviation over seeds of the held-out accuracies after
the last epoch. A seed sets initial weights, sample order and the held-out fold, the same for every
method. Training runs in one process without Ray, on images that are decoded once.

There are two targets: `scenes`, the IER drawings, whose cues appear in no face; and `faces`, other
faces in other colors, dim and noisy, on which a network trained on the FER drawings is better than
chance. A discrepancy can transfer what the FER network knows about the target, and no more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import ray
import torch
from reading import FromMemory, Held

from ier_ray.cluster.connection import connect
from ier_ray.cluster.ingest import ingest
from ier_ray.data.images import decode_square, encode_png
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.parts import SplitPlan
from ier_ray.data.schema import DOMAINS, Domain
from ier_ray.data.shards import RowIndex, ShardSet
from ier_ray.data.sources import SyntheticSource
from ier_ray.data.sources.base import Listed, Loaded
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.emotions import FOUR
from ier_ray.inference import Recognizer
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.settings import TrainSettings

SIZE = 64
CONTRAST, NOISE = 0.5, 20.0

METHODS: dict[str, dict[str, Any]] = {
    "joint": {},
    "joint_weak": {"loss": {"balance": 0.1}},
    "beta_0": {"loss": {"balance": 0.0}},
    "source_only": {"loss": {"balance": 0.0, "supervision": "fer"}},
    "unsupervised": {"loss": {"supervision": "fer"}},
    "unsupervised_mmd": {"loss": {"supervision": "fer", "discrepancy": "mmd"}},
    "per_epoch": {"schedule": {"alignment": "per_epoch"}},
    "paired": {"loss": {"discrepancy": "paired"}},
    "class_mean": {"loss": {"discrepancy": "class_mean"}},
}
"""Settings of each method; all others have their defaults: same_image, balance 1, per_step.
unsupervised is source_only with the discrepancy."""
QUICK = ("joint", "beta_0", "source_only")
Target = Literal["scenes", "faces"]


@dataclass(frozen=True)
class OtherFaces(SyntheticSource):
    """Faces in the IER domain as well: other drawings, made to look different."""

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        loaded = super().load("fer", sample)
        if domain == "fer":
            return loaded
        pixels = decode_square(loaded.image, self.size).astype(np.float64)[..., ::-1]
        number = int(sample.sample_id.rsplit("-", 1)[1])
        noise = np.random.default_rng((self.seed, number)).normal(0, NOISE, pixels.shape)
        changed = np.clip(pixels * CONTRAST + noise, 0, 255).astype(np.uint8)
        return Loaded(encode_png(changed), loaded.cue_mask)


def make_shards(directory: Path, samples: int, target: Target) -> dict[str, ShardSet]:
    drawn = SyntheticSource if target == "scenes" else OtherFaces
    for seed, domain in enumerate(DOMAINS):
        source = drawn(samples=samples, size=SIZE, seed=seed)
        ingest(
            source,
            domain,
            f"{directory}/{domain}",
            scheme=FOUR,
            layout=LayoutSettings(duplicates="keep"),
        )
    return {domain: ShardSet.open(f"{directory}/{domain}") for domain in DOMAINS}


def settings_of(
    shards: dict[str, ShardSet], *, epochs: int, seed: int, method: str
) -> TrainSettings:
    values: dict[str, Any] = {
        "seed": seed,
        "data": {**{d: s.location for d, s in shards.items()}, "test_fold": seed % 5},
        "model": {"image_size": SIZE, "width": 0.125},
        "loss": {"regularization": 1e-5},
        "optimizer": {"learning_rate": 1e-3, "batch_size": 16},
        "schedule": {
            "epochs": epochs,
            "warmup_epochs": epochs // 5,
            "scale_new_layers": False,  # as in the README's table
        },
    }
    for section, changes in METHODS[method].items():
        values[section] = {**values[section], **changes}
    return TrainSettings.model_validate(values)


def everything_but_test(shards: ShardSet, plan: SplitPlan) -> SplitIndex:
    """All rows but the test part train, and the test part is measured: nothing is selected."""
    split = SplitIndex.read(shards, plan)
    train = RowIndex.concatenated([split.train, split.validation])
    return replace(split, train=train, validation=split.test)


def trained(
    settings: TrainSettings, shards: dict[str, ShardSet], read: FromMemory
) -> dict[str, Any]:
    """The last epoch's record, and the test accuracies of its networks."""
    fer, ier = (everything_but_test(shards[d], settings.split_plan(d)) for d in DOMAINS)
    streams = JointStreams(
        fer,
        ier,
        preprocessing=settings.preprocessing,
        batch_size=settings.optimizer.batch_size,
        seed=settings.seed,
        execute=read,
    )
    with tempfile.TemporaryDirectory() as directory:
        record = train(settings, streams, FOUR, LocalContext(Path(directory))).history[-1]
        networks = Recognizer.load(f"{directory}/last", device="cpu")
    for domain in DOMAINS:  # source-only runs measure no IER accuracy themselves
        hits = [
            networks.probabilities(batch.images.numpy(), domain=domain).argmax(1)
            == batch.labels.numpy()
            for batch in streams.validation(domain)
        ]
        record[f"{domain}_accuracy"] = float(np.concatenate(hits).mean())
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, short, under 50 s")
    parser.add_argument(
        "--target", choices=get_args(Target), default="scenes", help="what the IER images show"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="rows of the table")
    arguments = parser.parse_args()
    quick, target = arguments.quick, arguments.target
    samples, epochs, seeds = (320, 2, 1) if quick else (1200, 10, 3)
    methods = arguments.methods or (QUICK if quick else tuple(METHODS))
    torch.set_num_threads(1)
    ray.init("local", num_cpus=2, logging_level="ERROR")
    connect()
    with tempfile.TemporaryDirectory() as directory:
        shards = make_shards(Path(directory), samples, target)
        ray.shutdown()
        read = FromMemory({s.files: Held.read(s, SIZE) for s in shards.values()})
        found: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
        for method in methods:
            for seed in range(seeds):
                started = time.perf_counter()
                settings = settings_of(shards, epochs=epochs, seed=seed, method=method)
                found[method].append(trained(settings, shards, read))
                print(line(f"{method} {seed}", found[method][-1:]), end="")
                print(f"  {time.perf_counter() - started:6.0f} s", flush=True)
    report(found, target=target, samples=samples, epochs=epochs)


def report(
    found: dict[str, list[dict[str, Any]]], *, target: Target, samples: int, epochs: int
) -> None:
    seeds = len(next(iter(found.values())))
    print(f"\ntarget {target}, {samples} drawings per domain, {epochs} epochs,", end="")
    print(f" mean ± std over {seeds} seeds")
    print(f"{'':<16}{'ier accuracy':>18}{'fer accuracy':>18}{'discrepancy':>18}")
    for method, records in found.items():
        print(line(method, records))
    record: dict[str, Any] = {
        "target": target,
        "seeds": seeds,
        "epochs": epochs,
        "samples": samples,
    }
    for method, records in found.items():
        for name in ("ier_accuracy", "fer_accuracy"):
            mean, std = spread([r[name] for r in records])
            record |= {f"{method}_{name}": mean, f"{method}_{name}_std": std}
    print(json.dumps(record))


def line(label: str, records: list[dict[str, Any]]) -> str:
    cells = [spread([r[n] for r in records]) for n in ("ier_accuracy", "fer_accuracy")]
    cells.append(spread([r["discrepancy"] for r in records]))
    return f"{label:<16}" + "".join(f"{f'{mean:.3f} ± {std:.3f}':>18}" for mean, std in cells)


def spread(values: list[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
