"""Human annotation study: agreement of annotators, beside the model and its explanations."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import Field, model_validator

from ier_ray import storage
from ier_ray.cluster.job import run_job
from ier_ray.config import Location, Locations, Seed, Settings
from ier_ray.evaluation.predictions import Predictions
from ier_ray.study.agreement import agreement, counts_of_percentage, majority
from ier_ray.study.annotations import Annotations, collect
from ier_ray.study.comparison import compare_to_majority, dataset_labels, out_of_fold_labels
from ier_ray.study.cue_overlap import explanation_overlaps, human_overlap
from ier_ray.study.explanations import read_explanations
from ier_ray.study.label_studio import read_label_studio
from ier_ray.study.manifest import StudyManifest, read_manifest
from ier_ray.study.page_answers import read_page_answers
from ier_ray.study.result import ExplanationOverlaps, StudyResult, as_text


class StudyImportSettings(Settings):
    """Whose answers to read, and what to compare them with."""

    study: Location
    """The study: the directory that study_export.py wrote, or the study.json in it."""
    answers: Locations = Field(default_factory=list)
    """Files that annotators saved from the page, one per annotator."""
    label_studio: Locations = Field(default_factory=list)
    """JSON exports of Label Studio."""
    predictions: Location | None = None
    """Parquet file of predictions by models that neither trained on the images nor were selected by
    them: predictions.parquet of a cross-validation, or of the run whose test part was exported."""
    explanations: Location | None = None
    """Directory that explain.py wrote for the exported images."""
    percentages: list[str] = Field(default_factory=list)
    """Percentages printed elsewhere, such as 78.3: which are shares of as many images?"""
    seed: Seed = 0
    """Of the intervals of overlaps."""
    output: Location | None = None
    """File for the figures and each image's votes; by default agreement.json beside the study."""

    @model_validator(mode="after")
    def _some_answers(self) -> StudyImportSettings:
        if not self.answers and not self.label_studio:
            raise ValueError("give answers, label_studio or both")
        return self


def read_annotations(settings: StudyImportSettings, manifest: StudyManifest) -> Annotations:
    given = [
        annotation
        for locations, read in (
            (settings.answers, read_page_answers),
            (settings.label_studio, read_label_studio),
        )
        for location in locations
        for annotation in read(location, manifest)
    ]
    return collect(manifest, given)


def main(settings: StudyImportSettings) -> dict[str, Any]:
    manifest = read_manifest(settings.study)
    output = settings.output or storage.join(study_directory(settings.study), "agreement.json")
    storage.check_writable(output)
    annotations = read_annotations(settings, manifest)
    classes = manifest.classes
    voted = majority(annotations.labels, len(classes))
    predicted = explained = None
    if settings.predictions is not None:
        predictions = Predictions.read(settings.predictions)
        predicted = compare_to_majority(
            out_of_fold_labels(predictions, manifest), voted, annotations
        )
    if settings.explanations is not None:
        found = read_explanations(settings.explanations, manifest)
        explained = ExplanationOverlaps(
            *(
                explanation_overlaps(
                    annotations, found, classes, same_class=same, seed=settings.seed
                )
                for same in (False, True)
            )
        )
    result = StudyResult(
        manifest=manifest,
        annotations=annotations,
        agreement=agreement(annotations.labels, annotations.annotators, len(classes)),
        majority=voted,
        dataset=compare_to_majority(dataset_labels(manifest), voted, annotations),
        model=predicted,
        human_overlap=human_overlap(annotations, seed=settings.seed),
        explanations=explained,
        percentages={
            printed: counts_of_percentage(printed, len(manifest.images))
            for printed in settings.percentages
        },
    )
    record = result.as_json()
    print(as_text(result), file=sys.stderr)
    storage.write_json(output, {**record, "votes": result.votes()})
    return {**record, "output": output}


def study_directory(study: str) -> str:
    return study.rpartition("/")[0] or "." if study.endswith(".json") else study


if __name__ == "__main__":
    sys.exit(run_job(StudyImportSettings, main, program="study_import", purpose=__doc__ or ""))
