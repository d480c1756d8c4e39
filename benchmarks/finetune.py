"""Fine-tuning on few photographs, beside a linear probe of the same pretrained features.

Each split has its own test fold, which nothing is chosen on: the validation fold chooses the
probe's penalty and the epoch of every training run, and reads no test image. Accuracies are of all
test images of all splits together; with as many splits as folds, each image is tested once.

    probe       logistic regression on the maps of the last layer, as jobs/probe.py
    probe_flip  the same with mirror images, in training and in testing
    beta_0      both networks, trunk and all, without a discrepancy
    beta_1      as the paper trains: both networks with the discrepancy
    frozen      ier alone on a frozen trunk for the recipe's epochs, all else by default
    recipe      configs/finetune.yaml
    recipe_flip the same runs; probabilities are averaged with those of the mirror images

The difference to the probe has two intervals: over images, from resampled groups (the training sets
as they are), and over splits, from the corrected resampled t-test (other training sets as well).
Training runs in this process without Ray, on images that are decoded once.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from reading import Held
from tuning import (
    METHODS,
    PROBES,
    Bench,
    as_predictions,
    last_maps,
    probed,
    trained,
)

from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import DOMAINS, Domain
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import SyntheticSource
from ier_ray.emotions import FOUR
from ier_ray.evaluation.intervals import Interval, paired_difference
from ier_ray.evaluation.metrics import accuracy, balanced_accuracy
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.significance import corrected_resampled_t_test

QUICK = {"size": 32, "samples": 160, "splits": 2, "width": 0.05, "epochs": 2}


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
