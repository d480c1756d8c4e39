"""All that is computed of one layer, from the embeddings of images in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ier_ray.evaluation.intervals import wilson_interval
from ier_ray.layerwise.chance import LEVEL, SHUFFLES, Chance, chance_intersections
from ier_ray.layerwise.embeddings import EmbeddingFiles
from ier_ray.layerwise.intersections import (
    Spread,
    class_ranges,
    component_intersections,
    intersections,
    mean_intersection,
)
from ier_ray.layerwise.pca import (
    Components,
    Floats,
    coordinates,
    gram_matrix,
    principal_components,
    streamed_coordinates,
)
from ier_ray.layerwise.probe import probe_predictions
from ier_ray.layerwise.separation import Separation

Method = Literal["gram", "streaming"]
MOST_BY_GRAM = 4000
"""Images up to which a Gram matrix is computed: its cost grows with their square."""
STREAMED_DIMENSIONS = 32
"""Components that a stream is reduced to; the probe reads these."""


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear classifier on images of other folds, with Wilson's interval."""

    accuracy: float
    low: float
    high: float
    dimensions: int
    """What it reads of each image."""


@dataclass(frozen=True, eq=False)
class LayerScores:
    """One layer of one network; K classes, C components.

    Attributes:
        layer: its name.
        width: numbers of an image.
        counts: ``(K,)`` images of each class.
        method: how the components were computed.
        by_component: ``(K, K, C)`` intersections (Eq. 12).
        intersections: ``(K, K)`` their products (Eq. 13).
        mean: over pairs of different classes with two images or more; NaN without such a pair.
        chance: the same with shuffled labels.
        probe: None where it has nothing to fit or to predict.
    """

    layer: str
    width: int
    counts: NDArray[np.int64]
    method: Method
    components: Components
    by_component: Floats
    intersections: Floats
    mean: float
    chance: Chance
    separation: Separation
    probe: Probe | None

    def notes(self, classes: tuple[str, ...]) -> list[str]:
        """What a reader must know of these figures."""
        found = []
        if not self.components.scores.shape[1]:
            found.append("the layer is constant: all images have the same embedding")
        found += [
            f"components {index + 1} and {index + 2} have nearly the same variance: "
            f"their axes are not determined"
            for index in self.components.undetermined
        ]
        for name, count in zip(classes, self.counts.tolist(), strict=True):
            if count == 0:
                found.append(f"no image of {name}: it has no scores")
            if count == 1:
                found.append(f"one image of {name}: its scores are left out of means")
        return found


@dataclass(frozen=True)
class Scoring:
    """How scores are computed."""

    seed: int
    """Of the shuffled labels, the probe's folds and a stream's first subspace."""
    spread: Spread = "deviation"
    shuffles: int = SHUFFLES
    """Times that the labels are shuffled."""


def analyze_layer(
    files: EmbeddingFiles, layer: str, labels: NDArray[np.int64], classes: int, scoring: Scoring
) -> LayerScores:
    """Components, intersections and what is beside them as evidence.

    Args:
        labels: ``(N,)`` of the images in the files.
    """
    seed, spread = scoring.seed, scoring.spread
    method: Method = "gram" if files.images <= MOST_BY_GRAM else "streaming"
    if method == "gram":
        gram = gram_matrix(files.rows(layer))
        scores, total = coordinates(gram)
        separation = Separation.of_gram(gram, labels, classes)
    else:
        blocks = partial(files.blocks, layer)
        scores, total = streamed_coordinates(blocks, seed=seed, dimensions=STREAMED_DIMENSIONS)
        separation = Separation.of_blocks(blocks, labels, classes)
    components = principal_components(scores, total)
    ranges = class_ranges(components.scores, labels, classes, spread=spread)
    found = intersections(ranges)
    return LayerScores(
        layer=layer,
        width=files.widths[layer],
        counts=ranges.counts,
        method=method,
        components=components,
        by_component=component_intersections(ranges),
        intersections=found,
        mean=mean_intersection(found, ranges.counts),
        chance=chance_intersections(
            components.scores,
            labels,
            classes,
            seed=seed,
            shuffles=scoring.shuffles,
            spread=spread,
        ),
        separation=separation,
        probe=_probed(scores, labels, seed),
    )


def _probed(scores: Floats, labels: NDArray[np.int64], seed: int) -> Probe | None:
    predicted = probe_predictions(scores, labels, seed=seed)
    if predicted is None:
        return None
    right = int((predicted == labels).sum())
    interval = wilson_interval(right, len(labels), level=LEVEL)
    return Probe(interval.estimate, interval.low, interval.high, scores.shape[1])
