"""Seconds of the interpretation that the paper adds to an epoch: Table 3."""

from __future__ import annotations

import torch
from pydantic import Field

from ier_ray.cluster.streams import open_splits
from ier_ray.config import Settings
from ier_ray.data.streams import ExecuteReads
from ier_ray.experiments.cases import explained
from ier_ray.experiments.controls import extracted
from ier_ray.experiments.timing import seconds_of
from ier_ray.experiments.units import Unit
from ier_ray.explain import RegionTree, explain
from ier_ray.explain.incremental import ExactInference
from ier_ray.layerwise.pca import coordinates, gram_matrix, principal_components
from ier_ray.models.features import layer_features
from ier_ray.models.registry import build_network

Measured = dict[str, float | None]


class CostOptions(Settings):
    """Options of a grid whose cells are seconds of an epoch's operations."""

    images: int = Field(16, ge=1)
    """Test images that are explained in an epoch."""
    depth: int = Field(6, ge=1, le=14)
    """Halvings of each explained image."""
    rounds: int = Field(3, ge=1)
    """Measurements after the first, which warms up; the median counts."""


def measured_costs(unit: Unit, reads: ExecuteReads) -> Measured:
    """Seconds of explaining images and of the principal components of the test images' features.

    The network is as initialized: the cost does not depend on its weights.
    """
    options, settings = CostOptions.model_validate(unit.options), unit.train
    split = open_splits(settings)["ier"]
    torch.manual_seed(settings.seed)
    classes = len(split.shards.scheme.classes)
    network = build_network(settings.model, num_classes=classes).eval()
    cases = list(explained(unit, network, options.images, reads))
    size = settings.model.image_size
    tree = RegionTree.halving(size, size, depth=options.depth)
    inference = ExactInference.of(network)

    def feature_wise() -> None:
        for case in cases:
            explain(inference.evaluator(case.image, case.baseline), tree)

    def layer_wise() -> None:
        rows = extracted(
            lambda images: layer_features(network, images), settings, split, split.test, reads
        )
        principal_components(*coordinates(gram_matrix(rows)))

    return {
        "feature_seconds": seconds_of(feature_wise, options.rounds),
        "layer_seconds": seconds_of(layer_wise, options.rounds),
    }
