"""Human annotation study: draw images; write a page and a Label Studio project for annotators."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import Field

from ier_ray import storage
from ier_ray.cluster.job import run_job
from ier_ray.config import Location, Seed, Settings
from ier_ray.data.fitting import Given, open_fitting
from ier_ray.data.parts import SplitPlan
from ier_ray.errors import SettingsError
from ier_ray.study.export import Asked, check_output, class_counts, make_study, rows_of_part
from ier_ray.study.faces import face_screen
from ier_ray.study.manifest import ScreeningMethod
from ier_ray.study.page import default_consent


class StudyExportSettings(Settings):
    """Which images annotators see, and what they are asked."""

    shards: Location
    """Shard set of generic images: a path or s3:// URI made by jobs/ingest.py."""
    output: Location = "study"
    """Directory or s3:// URI for study.html, label-studio/, images/, and study.json, which holds
    the labels and is not for annotators."""
    images: int = Field(100, ge=2)
    """Number of images, as many of each class as possible."""
    part: Asked = "test"
    """Part of the shard set that images are from, by the section split; or all rows, for the
    predictions of a cross-validation."""
    seed: Seed = 0
    """Of the drawn images, and of the order in which each annotator sees them."""
    faces: ScreeningMethod = "detect"
    """How images with faces are left out: detect (OpenCV's detector), file (a table of yours), or
    none, which leaves none out. study.json records the way, and each image left out."""
    faces_file: Location | None = None
    """CSV file with the columns sample_id and faces (their number), for faces file."""
    largest_side: int = Field(800, ge=64, le=4096)
    """Pixels of the longer side, to which larger images are reduced."""
    question: str = Field("Which emotion does this picture convey?", min_length=1)
    """What annotators are asked."""
    consent: Location | None = None
    """Text file in UTF-8 that annotators agree to first; blank lines divide paragraphs. By default
    a general text: read it, as your study may need another."""
    split: SplitPlan = SplitPlan()


def consent_text(location: str | None) -> str:
    if location is None:
        return default_consent()
    try:
        text = storage.read_bytes(location).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"consent {location}: is not in UTF-8; save it in UTF-8") from error
    if not text.strip():
        raise SettingsError(f"consent {location}: is empty; write what annotators agree to")
    return text.replace("\r\n", "\n")


def main(settings: StudyExportSettings) -> dict[str, Any]:
    screen = face_screen(settings.faces, settings.faces_file)
    consent = consent_text(settings.consent)
    (shards,) = open_fitting([Given("shards", settings.shards, "ier")])
    check_output(settings.output)
    study = make_study(
        shards,
        rows_of_part(shards, settings.part, settings.split),
        count=settings.images,
        part=settings.part,
        seed=settings.seed,
        screen=screen,
        largest_side=settings.largest_side,
        question=settings.question,
        consent=consent,
    )
    screening = study.manifest.screening
    counts = class_counts(study.manifest.images)
    print(
        f"{len(study.manifest.images)} images ({counts}); of {screening.examined} drawn, left out: "
        f"{screening.counts or 'none'} (faces: {screening.method})",
        file=sys.stderr,
    )
    return {
        "study_id": study.manifest.study_id,
        "images": len(study.manifest.images),
        "classes": counts,
        "screening": screening.model_dump(mode="json", exclude={"left_out"}),
        "files": study.write(settings.output),
    }


if __name__ == "__main__":
    sys.exit(run_job(StudyExportSettings, main, program="study_export", purpose=__doc__ or ""))
