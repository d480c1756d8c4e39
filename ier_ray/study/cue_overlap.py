"""Overlap of explanations with marked cues, over all images, beside what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from ier_ray.evaluation.intervals import LEVEL, RESAMPLES, Interval
from ier_ray.study.annotations import Annotations
from ier_ray.study.cues import Mask
from ier_ray.study.explanations import ExplainedStudyImage
from ier_ray.study.overlap import MEASURES, Overlap, center_map, overlap, random_overlap

Scored = Callable[[Mask], Overlap]


@dataclass(frozen=True)
class MeanOverlap:
    """Mean scores over images; an image's score is its mean over the annotators' masks."""

    images: int
    masks: int
    scores: dict[str, Interval]
    """Mean of each measure, with the percentile interval of images drawn with replacement."""


@dataclass(frozen=True)
class CueOverlaps:
    """Maps beside each other on the same masks; None where there are no masks."""

    explanation: MeanOverlap | None
    random: MeanOverlap | None
    """The same explanations, moved at random."""
    center: MeanOverlap | None
    """A bump in the middle of the image."""


def explanation_overlaps(
    annotations: Annotations,
    explained: Sequence[ExplainedStudyImage],
    classes: Sequence[str],
    *,
    same_class: bool,
    seed: int,
) -> CueOverlaps:
    """Overlap of explanations with the cues of each annotator.

    Args:
        same_class: whether only the cues of annotators count who chose the explained class: those
            of others are cues for something else.
        seed: of the intervals.
    """
    masks = [
        [
            mask
            for name, mask in cues.items()
            if not same_class or classes[row[annotations.annotators.index(name)]] == one.target
        ]
        for cues, row, one in zip(annotations.cues, annotations.labels, explained, strict=True)
    ]
    center = center_map()
    kinds: dict[str, list[Scored]] = {
        "explanation": [_scored(overlap, one) for one in explained],
        "random": [_scored(random_overlap, one) for one in explained],
        "center": [lambda mask: overlap(center, mask)] * len(explained),
    }
    found = {
        kind: _mean(
            [[score(mask) for mask in marked] for score, marked in zip(scores, masks, strict=True)],
            seed,
        )
        for kind, scores in kinds.items()
    }
    return CueOverlaps(**found)


def _scored(
    measure: Callable[[NDArray[np.float64], Mask], Overlap], one: ExplainedStudyImage
) -> Scored:
    return lambda mask: measure(one.density, mask)


def human_overlap(annotations: Annotations, *, seed: int) -> MeanOverlap | None:
    """Overlap of each annotator's marks with those of each other annotator of the image."""
    return _mean([list(_between(cues)) for cues in annotations.cues], seed)


def _between(cues: dict[str, Mask]) -> Iterator[Overlap]:
    for one, other in permutations(cues, 2):
        yield overlap(cues[one].astype(np.float64), cues[other])


def _mean(scores: Sequence[Sequence[Overlap]], seed: int) -> MeanOverlap | None:
    """The mean over the images that have scores."""
    marked = [Overlap.mean(of_image) for of_image in scores if of_image]
    if not marked:
        return None
    values = np.asarray([[getattr(one, name) for name in MEASURES] for one in marked])
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(marked), size=(RESAMPLES, len(marked)))
    ends = np.quantile(values[drawn].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    intervals = [
        Interval(float(mean), float(low), float(high), LEVEL)
        for mean, low, high in zip(values.mean(0), *ends, strict=True)
    ]
    return MeanOverlap(
        len(marked), sum(map(len, scores)), dict(zip(MEASURES, intervals, strict=True))
    )
