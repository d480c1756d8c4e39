"""Fine-tuning on few photographs, beside a linear probe of the same pretrained features.

Each split has its own test fold, which nothing is chosen on: the validation fold chooses the
probe's penalty and the epoch of every training run, and reads no test image. Accuracies are of all
test images of all splits together; with as many splits as folds, each image is tested once.

    probe       logistic regression on the maps of the last layer, as jobs/probe.py
    probe_flip  the same with mirror images, in training and in testing
    beta_0      both networks, trunk and all, without a discrepancy
    beta_1      as the paper trains: both networks with the discrepancy
    frozen      ier alone on a frozen trunk, with no other setting than that
    recipe      configs/finetune.yaml
    recipe_flip the same runs; probabilities are averaged with those of the mirror images

The difference to the probe has two intervals: over images, from resampled groups (the training sets
as they are), and over splits, from the corrected resampled t-test (other training sets as well).
Training runs in this process without Ray, on images that are decoded once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from reading import FromMemory, Held

from ier_ray.config import parse_settings, read_settings_file
from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.parts import SplitPlan
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.schema import Domain
from ier_ray.data.shards import RowIndex, RowReader, ShardSet
from ier_ray.data.sources import SyntheticSource
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.emotions import FOUR
from ier_ray.evaluation.intervals import Interval, paired_difference
from ier_ray.evaluation.metrics import accuracy, balanced_accuracy
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.probe import fit_probe
from ier_ray.evaluation.significance import corrected_resampled_t_test
from ier_ray.inference import Recognizer
from ier_ray.models.features import layer_features
from ier_ray.models.registry import build_network
from ier_ray.models.weights import load_pretrained
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.settings import TrainSettings

DOMAINS: tuple[Domain, ...] = ("fer", "ier")
RECIPE = Path(__file__).parents[1] / "configs" / "finetune.yaml"
PROBES = {"probe": False, "probe_flip": True}
JOINT: dict[str, Any] = {"optimizer": {"precision": "bfloat16"}, "schedule": {"warmup_epochs": 1}}
ALONE: dict[str, Any] = {
    "loss": {"balance": 0.0},
    "optimizer": {"trunk_factor": 0.0},
    "schedule": {"networks": "ier", "warmup_epochs": 0},
}
RUNS: dict[str, dict[str, Any]] = {
    "beta_0": {**JOINT, "loss": {"balance": 0.0}},
    "beta_1": {**JOINT, "loss": {"balance": 1.0}},
    "frozen": ALONE,
    "recipe": read_settings_file(str(RECIPE)),
}
"""Settings of each run that are not common to all; the others have their defaults."""
METHODS = (*PROBES, *RUNS)
LAST_MAPS = "features.30"
"""The last max-pool of VGG16."""
BATCH = 64
"""Images per forward pass in testing."""
QUICK = {"size": 32, "samples": 160, "splits": 2, "width": 0.05, "epochs": 2}


@dataclass(frozen=True)
class Bench:
    """The data and what all methods have in common."""

    shards: dict[Domain, ShardSet]
    held: dict[Domain, Held]
    size: int
    width: float
    pretrained: str | None
    epochs: int | None
    """Of runs that train a trunk, or of all runs in the quick mode; None: as the recipe."""
    quick: bool

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.size, "imagenet")

    def settings(self, method: str, fold: int, storage: str) -> TrainSettings:
        values: dict[str, Any] = {
            name: dict(v) if isinstance(v, dict) else v for name, v in RUNS[method].items()
        }
        alone = values.get("schedule", {}).get("networks") == "ier"
        common: dict[str, dict[str, Any]] = {
            "data": {
                "fer": None if alone else self.shards["fer"].location,
                "ier": self.shards["ier"].location,
                "test_fold": fold,
                "normalization": "imagenet",
            },
            "model": {"image_size": self.size, "width": self.width},
            "schedule": {"pretrained": self.pretrained},
        }
        if self.epochs is not None and (self.quick or method in ("beta_0", "beta_1")):
            common["schedule"]["epochs"] = self.epochs
        for section, changes in common.items():
            values[section] = {**values.get(section, {}), **changes}
        values |= {"seed": fold, "storage": storage}
        return parse_settings(TrainSettings, values, source=method)

    def split(self, domain: Domain, fold: int) -> SplitIndex:
        return SplitIndex.read(self.shards[domain], SplitPlan(test_fold=fold))

    def pixels(self, rows: RowIndex) -> NDArray[np.uint8]:
        images: NDArray[np.uint8] = self.held["ier"].select(rows.positions)["image"]
        return images


@dataclass
class BestEpoch(LocalContext):
    """Keeps the checkpoint of the best validation score, as a run on a cluster does."""

    def report(self, metrics: dict[str, Any], directory: Path | None) -> None:
        best = max((record["score"] for record in self.history), default=-np.inf)
        self.history.append(metrics)
        if directory is not None and metrics["score"] > best:
            shutil.rmtree(self.directory / "best", ignore_errors=True)
            shutil.copytree(
                directory, self.directory / "best", ignore=shutil.ignore_patterns("trainer_state*")
            )


def trained(bench: Bench, method: str, fold: int) -> dict[str, NDArray[np.float64]]:
    """Probabilities of the test images by the run's best epoch; of the recipe with flips, too."""
    rows = bench.split("ier", fold).test
    with tempfile.TemporaryDirectory() as directory:
        settings = bench.settings(method, fold, directory)
        fer, ier = (bench.split(d, fold) if d in settings.domains else None for d in DOMAINS)
        streams = JointStreams(
            fer,
            ier,
            preprocessing=settings.preprocessing,
            batch_size=settings.optimizer.batch_size,
            seed=settings.seed,
            execute=FromMemory({bench.shards[d].files: bench.held[d] for d in bench.held}),
        )
        context = BestEpoch(Path(directory))
        train(settings, streams, bench.shards["ier"].scheme, context)
        recognizer = Recognizer.load(f"{directory}/best", device="cpu")
    found = {method: predicted(recognizer, bench.pixels(rows), flip=False)}
    if method == "recipe":
        found["recipe_flip"] = predicted(recognizer, bench.pixels(rows), flip=True)
    return found


def predicted(
    recognizer: Recognizer, pixels: NDArray[np.uint8], *, flip: bool
) -> NDArray[np.float64]:
    starts = range(0, len(pixels), BATCH)
    parts = [recognizer.probabilities(pixels[i : i + BATCH], flip=flip) for i in starts]
    return np.concatenate(parts)


@torch.inference_mode()
def last_maps(bench: Bench, *, mirrored: bool) -> Held:
    """The pretrained trunk's last maps of every IER image, flattened, as column ``maps``."""
    torch.manual_seed(0)
    settings = bench.settings("frozen", 0, "runs").model
    network = build_network(settings, num_classes=2).eval()
    if bench.pretrained is not None:
        load_pretrained([network], bench.pretrained)
    held, parts = bench.held["ier"], []
    for start in range(0, len(held.rows["image"]), BATCH):
        pixels = torch.as_tensor(held.rows["image"][start : start + BATCH])
        inputs = bench.preprocessing.inputs(pixels)
        inputs = inputs.flip(-1) if mirrored else inputs
        parts.append(layer_features(network, inputs, layer=LAST_MAPS, pool="flatten").numpy())
    return Held({"maps": np.concatenate(parts), "label": held.rows["label"]}, held.place)


def probed(bench: Bench, views: Sequence[Held], fold: int) -> NDArray[np.float64]:
    """Probabilities of the test images by a probe; the mean over views."""
    split = bench.split("ier", fold)
    parts = [
        [view.select(rows.positions) for view in views]
        for rows in (split.train, split.validation, split.test)
    ]
    (features, labels), (val_features, val_labels) = (
        [np.concatenate([view[name] for view in part]) for name in ("maps", "label")]
        for part in parts[:2]
    )
    classes = len(bench.shards["ier"].scheme.classes)
    probe = fit_probe(features, labels, val_features, val_labels, classes=classes)
    found: NDArray[np.float64] = np.mean([probe.probabilities(v["maps"]) for v in parts[2]], axis=0)
    return found


def as_predictions(
    bench: Bench, method: str, fold: int, probabilities: NDArray[np.float64]
) -> Predictions:
    shards, rows = bench.shards["ier"], bench.split("ier", fold).test
    names = RowReader.of(shards, 1).table(rows.positions, ["sample_id", "group", "dataset"])
    ids, groups, datasets = (np.array(column.to_pylist(), dtype=str) for column in names.columns)
    return Predictions(
        sample_ids=ids,
        groups=groups,
        datasets=datasets,
        domains=np.full(len(rows), "ier"),
        parts=np.full(len(rows), "test"),
        folds=rows.fold,
        labels=rows.label,
        probabilities=probabilities,
        runs=np.full(len(rows), method),
        seeds=np.full(len(rows), fold, dtype=np.int64),
        seen=np.zeros(len(rows), dtype=np.bool_),
        classes=shards.scheme.classes,
    )


def measured(bench: Bench, methods: Sequence[str], splits: int) -> dict[str, list[Predictions]]:
    """Predictions of each method on each split's test images."""
    views = [last_maps(bench, mirrored=mirrored) for mirrored in (False, True)]
    found: dict[str, list[Predictions]] = {}
    for fold in range(splits):
        for method in methods:
            started = time.perf_counter()
            if method in PROBES:
                used = views if PROBES[method] else views[:1]
                tested = {method: probed(bench, used, fold)}
            else:
                tested = trained(bench, method, fold)
            seconds = time.perf_counter() - started
            for name, probabilities in tested.items():
                predictions = as_predictions(bench, name, fold, probabilities)
                found.setdefault(name, []).append(predictions)
                right = accuracy(predictions.probabilities, predictions.labels)
                print(f"split {fold}  {name:<12} {right:.3f}  {seconds:6.0f} s", flush=True)
    return found


def report(found: dict[str, list[Predictions]], bench: Bench) -> None:
    splits, first = len(found["probe"]), Predictions.concatenated(found["probe"])
    print(f"\n{len(first)} test images in {splits} splits, {bench.size} pixels;", end="")
    print(" difference of accuracy to the probe with 95% intervals over images and over splits")
    print(f"{'':<12}{'accuracy':>10}{'balanced':>10}{'over images':>26}{'over splits':>26}")
    record: dict[str, Any] = {"images": len(first), "splits": splits, "size": bench.size}
    for name, parts in found.items():
        pooled = Predictions.concatenated(parts)
        scores = [m(pooled.probabilities, pooled.labels) for m in (accuracy, balanced_accuracy)]
        record |= {f"{name}_accuracy": scores[0], f"{name}_balanced_accuracy": scores[1]}
        line = f"{name:<12}" + "".join(f"{score:>10.3f}" for score in scores)
        if name != "probe":
            images = paired_difference(accuracy, pooled, first, seed=0)
            line += f"{as_text(images):>26}"
            record[f"{name}_difference"] = images.estimate
            record[f"{name}_over_images"] = [images.low, images.high]
        if name != "probe" and splits > 1:
            over_splits = interval_over_splits(bench, parts, found["probe"])
            line += f"{as_text(over_splits):>26}"
            record[f"{name}_over_splits"] = [over_splits.low, over_splits.high]
        print(line)
    print(json.dumps(record))


def interval_over_splits(
    bench: Bench, parts: Sequence[Predictions], probe: Sequence[Predictions]
) -> Interval:
    differences = [
        accuracy(mine.probabilities, mine.labels) - accuracy(other.probabilities, other.labels)
        for mine, other in zip(parts, probe, strict=True)
    ]
    split = bench.split("ier", 0)
    share = len(split.test) / len(split.train)
    return corrected_resampled_t_test(differences, test_share=share).interval


def as_text(interval: Interval) -> str:
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def drawn(directory: str, samples: int, size: int) -> dict[Domain, str]:
    source = SyntheticSource(samples=samples, size=size, seed=0)
    return {
        domain: write_shard_set(
            source, domain, f"{directory}/{domain}", scheme=FOUR, layout=LayoutSettings()
        ).location
        for domain in DOMAINS
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ier", help="shard set of photographs")
    parser.add_argument("--fer", help="shard set of faces with the same classes")
    parser.add_argument(
        "--pretrained", help="ImageNet weights of VGG16: a file or torchvision name"
    )
    parser.add_argument("--splits", type=int, default=5, help="test folds, from fold 0")
    parser.add_argument("--size", type=int, default=96, help="side of the images in pixels")
    parser.add_argument(
        "--epochs", type=int, default=4, help="of beta_0 and beta_1, which train whole trunks"
    )
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=METHODS, help="rows besides the probe"
    )
    parser.add_argument(
        "--quick", action="store_true", help="drawings, tiny and untrained networks"
    )
    arguments = parser.parse_args()
    if not arguments.quick and None in (arguments.ier, arguments.fer, arguments.pretrained):
        parser.error("--ier, --fer and --pretrained are required, but with --quick")
    return arguments


def main() -> None:
    arguments = parsed()
    quick = arguments.quick
    with tempfile.TemporaryDirectory() as directory:
        if quick:
            locations = drawn(directory, int(QUICK["samples"]), int(QUICK["size"]))
        else:
            locations = {"fer": arguments.fer, "ier": arguments.ier}
        shards = {domain: ShardSet.open(location) for domain, location in locations.items()}
        size = int(QUICK["size"]) if quick else arguments.size
        bench = Bench(
            shards=shards,
            held={domain: Held.read(opened, size) for domain, opened in shards.items()},
            size=size,
            width=float(QUICK["width"]) if quick else 1.0,
            pretrained=None if quick else arguments.pretrained,
            epochs=int(QUICK["epochs"]) if quick else arguments.epochs,
            quick=quick,
        )
        methods = ("probe", *(name for name in METHODS[1:] if name in arguments.methods))
        report(measured(bench, methods, int(QUICK["splits"]) if quick else arguments.splits), bench)


if __name__ == "__main__":
    main()
