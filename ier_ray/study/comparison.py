"""A model beside the annotators: its out-of-fold predictions and the class that most chose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ier_ray.errors import DataError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.study.agreement import Labels, Majority, ShareOf, cohen_kappa
from ier_ray.study.annotations import Annotations, named
from ier_ray.study.manifest import StudyManifest


@dataclass(frozen=True)
class MajorityComparison:
    """How often one label per image is the class that most annotators chose."""

    agreement: ShareOf | None
    """Of the images with a majority class; None if there are none."""
    kappa: float | None
    """Cohen's, on the same images."""
    mean_annotator_kappa: float | None
    """Mean of Cohen's kappa with each annotator, over all images: to be read beside the mean
    kappa of pairs of annotators."""
    confusion: list[list[int]]
    """``(K, K)``: the majority's class in rows, the other label in columns."""


def compare_to_majority(
    labels: Labels, majority: Majority, annotations: Annotations
) -> MajorityComparison:
    """Compare labels ``(N,)`` of images to the annotators."""
    classes = majority.votes.shape[1]
    decided = majority.decided
    chosen, given = majority.labels[decided], labels[decided]
    confusion = np.bincount(chosen * classes + given, minlength=classes**2)
    kappas = [cohen_kappa(labels, column, classes) for column in annotations.labels.T]
    defined = [kappa for kappa in kappas if kappa is not None]
    return MajorityComparison(
        agreement=ShareOf.counted(int((chosen == given).sum()), len(chosen)),
        kappa=cohen_kappa(chosen, given, classes) if len(chosen) else None,
        mean_annotator_kappa=float(np.mean(defined)) if defined else None,
        confusion=confusion.reshape(classes, classes).tolist(),
    )


def dataset_labels(manifest: StudyManifest) -> Labels:
    """The dataset's class ``(N,)`` of each image."""
    names = [manifest.classes.index(image.label) for image in manifest.images]
    return np.asarray(names, dtype=np.int64)


def out_of_fold_labels(predictions: Predictions, manifest: StudyManifest) -> Labels:
    """The predicted class ``(N,)`` of each image of a study, by a model that did not train on it.

    Args:
        predictions: of one run with its test images, or of all folds of a cross-validation.

    Raises:
        DataError: when the classes differ, or an image has several predictions, or none by a
            model that it neither trained nor selected, or another label than in the study.
    """
    if list(predictions.classes) != manifest.classes:
        raise DataError(
            f"predictions are of classes {list(predictions.classes)}, but study "
            f"{manifest.study_id} has {manifest.classes}"
        )
    wanted = {image.sample_id for image in manifest.images}
    of_study = np.isin(predictions.sample_ids, list(wanted)) & (predictions.domains == "ier")
    held_out = predictions.select(of_study & ~predictions.seen)
    rows = {sample: row for row, sample in enumerate(held_out.sample_ids.tolist())}
    _require(sorted(wanted - rows.keys()), "have no prediction by a model that did not see them")
    samples, counts = np.unique(held_out.sample_ids, return_counts=True)
    _require(
        samples[counts > 1].tolist(),
        "have several predictions; give those of one run or one cross-validation",
    )
    chosen = held_out.select(np.asarray([rows[image.sample_id] for image in manifest.images]))
    differing = chosen.sample_ids[chosen.labels != dataset_labels(manifest)].tolist()
    _require(differing, "have another label than in the study: these are predictions of other data")
    predicted: Labels = chosen.probabilities.argmax(1)
    return predicted


def _require(samples: list[str], problem: str) -> None:
    if samples:
        raise DataError(
            f"predictions: {len(samples)} images of the study ({named(samples)}) {problem}"
        )
