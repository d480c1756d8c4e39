"""All figures of a study, from its annotations and what they are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from ier_ray.evaluation.predictions import Predictions
from ier_ray.study.agreement import agreement, counts_of_percentage, majority
from ier_ray.study.annotations import Annotations
from ier_ray.study.comparison import compare_to_majority, dataset_labels, out_of_fold_labels
from ier_ray.study.cue_overlap import explanation_overlaps, human_overlap
from ier_ray.study.explanations import ExplainedStudyImage
from ier_ray.study.manifest import StudyManifest
from ier_ray.study.result import ExplanationOverlaps, StudyResult


def analyze_study(
    manifest: StudyManifest,
    annotations: Annotations,
    *,
    predictions: Predictions | None = None,
    explained: Sequence[ExplainedStudyImage] | None = None,
    percentages: Sequence[str] = (),
    seed: int,
) -> StudyResult:
    """Agreement of the annotators, and the dataset, a model and its explanations beside them.

    Args:
        predictions: of models that did not see the images.
        explained: the explanation of each image.
        percentages: as printed elsewhere, to be told whether they are shares of as many images.
        seed: of the intervals of overlaps.

    Raises:
        DataError: when the predictions do not fit the study.
        SettingsError: when a percentage is none, or a library of the extra ``study`` is missing.
    """
    classes = manifest.classes
    voted = majority(annotations.labels, len(classes))
    model = None
    if predictions is not None:
        predicted = out_of_fold_labels(predictions, manifest)
        model = compare_to_majority(predicted, voted, annotations)
    overlaps = None
    if explained is not None:
        all_cues, same_class = (
            explanation_overlaps(annotations, explained, classes, same_class=same, seed=seed)
            for same in (False, True)
        )
        overlaps = ExplanationOverlaps(all_cues, same_class)
    return StudyResult(
        manifest=manifest,
        annotations=annotations,
        agreement=agreement(annotations.labels, annotations.annotators, len(classes)),
        majority=voted,
        dataset=compare_to_majority(dataset_labels(manifest), voted, annotations),
        model=model,
        human_overlap=human_overlap(annotations, seed=seed),
        explanations=overlaps,
        percentages={
            printed: counts_of_percentage(printed, len(manifest.images)) for printed in percentages
        },
    )
