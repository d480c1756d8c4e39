"""Human annotation study: agreement of annotators, beside the model and its explanations."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import Field, model_validator

from ier_ray import storage
from ier_ray.cluster.job import run_job
from ier_ray.config import Location, Locations, Seed, Settings
from ier_ray.evaluation.predictions import Predictions
from ier_ray.study.analysis import analyze_study
from ier_ray.study.annotations import Annotations, collect
from ier_ray.study.explanations import read_explanations
from ier_ray.study.label_studio import read_label_studio
from ier_ray.study.manifest import StudyManifest, read_manifest
from ier_ray.study.page_answers import read_page_answers
from ier_ray.study.result import as_text


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
    result = analyze_study(
        manifest,
        annotations,
        predictions=(
            None if settings.predictions is None else Predictions.read(settings.predictions)
        ),
        explained=(
            None
            if settings.explanations is None
            else read_explanations(settings.explanations, manifest)
        ),
        percentages=settings.percentages,
        seed=settings.seed,
    )
    record = result.as_json()
    print(as_text(result), file=sys.stderr)
    storage.write_json(output, {**record, "votes": result.votes()})
    return {**record, "output": output}


def study_directory(study: str) -> str:
    return study.rpartition("/")[0] or "." if study.endswith(".json") else study


if __name__ == "__main__":
    sys.exit(run_job(StudyImportSettings, main, program="study_import", purpose=__doc__ or ""))
