"""Finished runs on disk, as jobs leave them, written without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ier_ray import storage
from ier_ray.data.samples import images_from_shards
from ier_ray.data.schema import PARTS, Domain
from ier_ray.data.shards import ShardSet
from ier_ray.emotions import FOUR
from ier_ray.evaluation.predictions import Predictions
from ier_ray.explain.metrics import positive_mass_inside
from ier_ray.explain.rendering import to_npz
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.records import ExplanationRecord, predictions_of_rows
from ier_ray.training.checkpoint import export_checkpoint
from support.runs import tiny_settings

EPOCHS = 3
FOLDS = 5


def write_finished_run(
    shards: dict[str, str], checkpoint: Path | str, location: Path, *, seed: int = 0, fold: int = 0
) -> Path:
    """A run whose networks know something of the classes, with the weights of a checkpoint."""
    settings = tiny_settings(
        shards, location.parent, name=location.name, data={**shards, "test_fold": fold}
    )
    location.mkdir(parents=True)
    storage.write_json(f"{location}/settings.json", settings.located().model_dump(mode="json"))
    export_checkpoint(str(checkpoint), f"{location}/best")
    history = [
        {
            "epoch": epoch,
            "fer": 1.2 / epoch,
            "ier": 1.4 / epoch,
            "discrepancy": 0.1 * epoch,
            "fer_accuracy": 1 - 0.6 / epoch,
            "ier_accuracy": 1 - 0.8 / epoch,
        }
        for epoch in range(1, EPOCHS + 1)
    ]
    storage.write_json(f"{location}/history.json", history)
    parts = [held_out(shards, domain, seed=seed, fold=fold) for domain in settings.domains]
    Predictions.concatenated(parts).write(f"{location}/predictions.parquet")
    return location


def held_out(shards: dict[str, str], domain: Domain, *, seed: int, fold: int) -> Predictions:
    """Predictions of the validation and test parts of a domain."""
    opened = ShardSet.open(shards[domain])
    index = opened.index()
    parts = np.full(len(index), PARTS.index("train"), dtype=np.int8)
    parts[index.fold == (fold + 1) % FOLDS] = PARTS.index("val")
    parts[index.fold == fold] = PARTS.index("test")
    generator = np.random.default_rng((seed, fold))
    logits = generator.normal(size=(len(index), 4)) + 1.5 * np.eye(4)[index.label]
    powers = np.exp(logits)
    found = predictions_of_rows(
        opened,
        index,
        powers / powers.sum(1, keepdims=True),
        parts=parts,
        seen=parts != PARTS.index("test"),
        run="run",
        seed=seed,
    )
    return found.select(found.parts != "train")


def write_cross_validation(
    shards: dict[str, str], checkpoint: Path | str, location: Path, *, seed: int = 0
) -> Path:
    """A cross-validation of five folds."""
    for fold in range(FOLDS):
        write_finished_run(shards, checkpoint, location / f"fold-{fold}", seed=seed, fold=fold)
    settings = tiny_settings(shards, location.parent, name=location.name)
    storage.write_json(f"{location}/settings.json", settings.located().model_dump(mode="json"))
    files = [f"{location}/fold-{fold}/predictions.parquet" for fold in range(FOLDS)]
    found = Predictions.concatenated([Predictions.read(file) for file in files])
    found.select(found.parts == "test").write(f"{location}/predictions.parquet")
    return location


def write_explanations(
    shards: dict[str, str], checkpoint: Path | str, directory: Path, **settings: Any
) -> list[str]:
    """Explanations of an image of each class, as ``jobs/explain.py`` leaves them; their names."""
    recognizer, explainer = Recognizer.load(str(checkpoint)), ExplainerSettings(**settings)
    images = images_from_shards(
        ShardSet.open(shards["ier"]),
        per_class=1,
        fold=0,
        preprocessing=recognizer.manifest.preprocessing,
    )
    directory.mkdir(parents=True)
    for image in images:
        explanation = explainer.explainer().explain(recognizer.evaluator(image.pixels, explainer))
        record = ExplanationRecord.of(explanation, explainer, FOUR)
        density = explanation.density_map(FOUR.index(record.target))
        mask = image.cue_mask
        assert mask is not None
        described = {
            "name": image.name,
            "label": image.label,
            "cue_share": float(mask.mean()),
            "cue_mass": positive_mass_inside(density, mask),
        }
        stem = image.name.replace("/", "_")
        (directory / f"{stem}.npz").write_bytes(to_npz(explanation))
        text = json.dumps(described | record.model_dump(mode="json"))
        (directory / f"{stem}.json").write_text(text)
    return [image.name for image in images]


def layerwise_record(layers: tuple[str, ...] = ("features.4", "logits")) -> dict[str, Any]:
    """What ``jobs/layerwise.py`` writes, as far as figures over depth need it."""

    def layer(name: str, depth: int, shift: float) -> dict[str, Any]:
        return {
            "layer": name,
            "images": dict.fromkeys(FOUR.classes, 20),
            "intersection": 0.8 - 0.3 * depth + shift,
            "chance": {"mean": 0.7, "low": 0.65, "high": 0.75},
            "separation": 0.4 + depth,
            "probe": {"accuracy": 0.3 + 0.2 * depth, "low": 0.2, "high": 0.6, "dimensions": 4},
        }

    return {
        "classes": list(FOUR.classes),
        "images": 80,
        "random": "randomly initialized",
        "networks": {
            name: [layer(one, depth, shift) for depth, one in enumerate(layers)]
            for name, shift in (("/runs/a/best", 0.0), ("randomly initialized", 0.05))
        },
    }


def remove(*names: str, of: Path) -> Path:
    """A run without some of its files."""
    for name in names:
        (of / name).unlink()
    return of
