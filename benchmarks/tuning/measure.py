"""Test predictions of one method on one split."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from reading import FromMemory, Held
from selecting import BestEpoch

from ier_ray.data.parts import TEST
from ier_ray.data.streams import JointStreams
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.probe import fit_probe
from ier_ray.inference import Recognizer
from ier_ray.models.features import layer_features
from ier_ray.models.registry import build_network
from ier_ray.models.weights import load_pretrained
from ier_ray.records import predictions_of_rows
from ier_ray.training.loop import train
from tuning.bench import Bench

LAST_MAPS = "features.30"
"""The last max-pool of VGG16."""
BATCH = 64
"""Images per forward pass in testing."""


def trained(bench: Bench, method: str, fold: int) -> dict[str, NDArray[np.float64]]:
    """Probabilities of the test images by the run's best epoch; of the recipe with flips, too."""
    rows = bench.split("ier", fold).test
    with tempfile.TemporaryDirectory() as directory:
        settings = bench.settings(method, fold, directory)
        splits = {d: bench.split(d, fold) for d in settings.domains}
        streams = JointStreams(
            splits.get("fer"),
            splits.get("ier"),
            settings.preprocessing,
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
    rows = bench.split("ier", fold).test
    return predictions_of_rows(
        bench.shards["ier"],
        rows,
        probabilities,
        parts=np.full(len(rows), TEST, dtype=np.int8),
        seen=np.zeros(len(rows), dtype=np.bool_),
        run=method,
        seed=fold,
    )
