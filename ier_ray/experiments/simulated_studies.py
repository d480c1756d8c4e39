"""Human studies of the stand-ins, whose annotators are simulated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ier_ray import storage
from ier_ray.data.shards import ShardSet
from ier_ray.evaluation.predictions import Predictions
from ier_ray.experiments.controls import control_predictions
from ier_ray.experiments.datasets import IER_SETS, Dataset
from ier_ray.experiments.memory_reads import MemoryReads
from ier_ray.experiments.stand_ins import FOLDS, SIDE
from ier_ray.study.analysis import analyze_study
from ier_ray.study.annotations import Annotation, collect
from ier_ray.study.cues import GRID
from ier_ray.study.export import make_study
from ier_ray.study.faces import NoScreen
from ier_ray.study.manifest import StudyManifest
from ier_ray.study.page import default_consent
from ier_ray.training.settings import TrainSettings

ANNOTATORS = {"simulated-1": 0.9, "simulated-2": 0.8, "simulated-3": 0.7}
"""How often each gives the class of the drawing; else it gives one of the others, each as often."""
IMAGES = 60
SEED = 0


def write_simulated_studies(location: str, data: Mapping[str, Dataset]) -> dict[str, str]:
    """Simulate a study of each IER stand-in, once.

    Args:
        location: directory of the result files.
        data: the stand-ins.

    Returns:
        The location of each result file, by dataset.
    """
    written = {}
    for name in IER_SETS:
        short = data[name].content_hash[:12]
        written[name] = storage.join(location, f"{name}-{short}.json")
        if not storage.exists(written[name]):
            storage.write_json(written[name], simulated_study(data[name].location))
    return written


def simulated_study(shards: str) -> dict[str, object]:
    """The record of a study of a shard set (:meth:`~ier_ray.study.result.StudyResult.as_json`).

    The model beside the annotators is a logistic regression on pixels, each image predicted by one
    that was fitted without its fold.
    """
    manifest = study_of(shards)
    annotations = collect(manifest, [*simulated_answers(manifest)])
    return analyze_study(
        manifest, annotations, predictions=out_of_fold(shards), seed=SEED
    ).as_json()


def study_of(shards: str) -> StudyManifest:
    """A study of some images of a shard set."""
    opened = ShardSet.open(shards)
    return make_study(
        opened,
        opened.index(),
        count=IMAGES,
        part="all",
        seed=SEED,
        screen=NoScreen(),
        largest_side=SIDE,
        question="Which emotion does this picture convey?",
        consent=default_consent(),
    ).manifest


def simulated_answers(manifest: StudyManifest) -> Iterator[Annotation]:
    """An answer of each annotator to each image; nobody marks cues."""
    # Others in each study, and the same wherever its shards are.
    rng = np.random.default_rng(int(manifest.content_hash[:16], 16))
    nothing = np.zeros((GRID, GRID), dtype=np.bool_)
    for annotator, share in ANNOTATORS.items():
        for image in manifest.images:
            others = [name for name in manifest.classes if name != image.label]
            label = image.label if rng.random() < share else str(rng.choice(others))
            yield Annotation("simulated", annotator, image.image_id, label, nothing)


def out_of_fold(shards: str) -> Predictions:
    """Predictions of all rows, each by a model that was fitted without its fold."""
    reads, found = MemoryReads(), []
    for fold in range(FOLDS):
        settings = TrainSettings.model_validate(
            {
                "data": {"ier": shards, "split": "inner", "test_fold": fold},
                "model": {"image_size": SIDE},
                "schedule": {"networks": "ier"},
                "loss": {"balance": 0.0},
            }
        )
        found.append(control_predictions("pixels", settings, reads, run="simulated"))
    return Predictions.concatenated(found)
