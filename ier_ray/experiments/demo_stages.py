"""Stages of the demo that need nothing of its settings but numbers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ier_ray.cluster.evaluation import choose_rows
from ier_ray.cluster.explainer import explain_images
from ier_ray.cluster.features import CheckpointNetwork, NetworkSource, PretrainedNetwork
from ier_ray.cluster.layerwise import layerwise_scores
from ier_ray.data.parts import SplitPlan
from ier_ray.data.samples import NamedImage
from ier_ray.data.shards import RowIndex, RowReader, ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.emotions import FOUR
from ier_ray.explained_images import ExplainedImage
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.layerwise.analysis import Scoring
from ier_ray.layerwise.files import RANDOM, write_layerwise
from ier_ray.models.layers import default_layers
from ier_ray.training.checkpoint import read_checkpoint_manifest

logger = logging.getLogger(__name__)

LAYER_SHUFFLES = 100
"""Times that labels are shuffled for the intervals by chance of layers."""


def explain(
    images: Sequence[NamedImage], settings: ExplainerSettings, checkpoint: str, output: str
) -> list[ExplainedImage]:
    """Explain scenes with two workers."""
    logger.info("explaining %d scenes, variant %s", len(images), settings.variant)
    return explain_images(
        checkpoint,
        images,
        output,
        scheme=FOUR,
        settings=settings,
        workers=2,
        worker_cpus=0.5,
    )


def first_of_each_class(images: Sequence[NamedImage], count: int) -> list[NamedImage]:
    """The first images of each class."""
    return [
        image
        for name in FOUR.classes
        for image in [one for one in images if one.label == name][:count]
    ]


def compare_layers(checkpoint: str, shards: str, output: str, *, per_class: int, seed: int) -> None:
    """How far the emotions lie apart in each layer, trained and randomly initialized."""
    manifest = read_checkpoint_manifest(checkpoint)
    rows = choose_rows(checkpoint, manifest, shards, domain="ier", parts=["test"])
    networks: dict[str, NetworkSource] = {
        checkpoint: CheckpointNetwork.at(checkpoint, "ier"),
        RANDOM: PretrainedNetwork(
            manifest.model, manifest.normalization, None, seed, len(manifest.classes)
        ),
    }
    logger.info("comparing the layers of two networks")
    result = layerwise_scores(
        networks,
        rows,
        random=RANDOM,
        layers=default_layers(manifest.model.architecture),
        per_class=per_class,
        scoring=Scoring(seed, shuffles=LAYER_SHUFFLES),
    )
    write_layerwise(result, output, title=checkpoint)


def logistic_regression_accuracy(location: str, plan: SplitPlan, *, size: int = 64) -> float:
    """Test accuracy of multinomial logistic regression on raw pixels, as a control."""
    split = SplitIndex.read(ShardSet.open(location), plan)
    reader = RowReader.of(split.shards, size)

    def pixels(index: RowIndex) -> tuple[Any, Any]:
        read = reader.read(index.positions)
        images = np.concatenate([rows["image"] for rows in read], dtype=np.float64)
        return images.reshape(len(index), -1) / 255.0, index.label

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100, tol=1e-2))
    model.fit(*pixels(split.train))
    return float(model.score(*pixels(split.test)))
