"""The manifest of a study: the images that annotators see, and where they come from."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import ValidationError

from ier_ray import storage
from ier_ray.config import Settings, in_one_line
from ier_ray.errors import DataError

FORMAT_VERSION = 1
STUDY_FILE = "study.json"

ScreeningMethod = Literal["detect", "file", "none"]
"""How images with faces are found: by a detector, in a table of the user's, or not at all."""


class StudyImage(Settings):
    """One image of a study."""

    image_id: str
    """Beginning of the SHA-256 of the exported JPEG file: all that annotators see of its name."""
    sample_id: str
    """Id of the sample in the shard set."""
    label: str
    """The dataset's class."""
    width: int
    """Of the exported image, in pixels."""
    height: int


class LeftOut(Settings):
    """A sample that was drawn and left out."""

    sample_id: str
    reason: str
    """``face`` or ``copy`` (its pixels are those of an image of the study)."""


class Screening(Settings):
    """How images with faces were left out."""

    method: ScreeningMethod
    tool: str
    """The detector and its version, or the location of the table."""
    parameters: dict[str, float]
    """Of the detector."""
    examined: int
    """Samples that were drawn."""
    counts: dict[str, int]
    """Samples left out per reason."""
    left_out: list[LeftOut]


class StudyManifest(Settings):
    """All that ties answers to a study. It holds the labels: it is not for annotators."""

    format_version: int = FORMAT_VERSION
    study_id: str
    """Hash of the rest of the manifest; every answer names it."""
    shards: str
    """Location of the shard set."""
    content_hash: str
    """Of the shard set."""
    part: str
    """Part of the shard set that the images are from."""
    seed: int
    """Of the sample, and of each annotator's order of images."""
    question: str
    consent_sha256: str
    """Hash of the consent text."""
    classes: list[str]
    """Classes to choose from, in order."""
    images: list[StudyImage]
    screening: Screening

    @property
    def image_ids(self) -> list[str]:
        """Ids of the images, in the order of the manifest."""
        return [image.image_id for image in self.images]


def new_manifest(**values: Any) -> StudyManifest:
    """A manifest with the id that follows from its values."""
    draft = StudyManifest(study_id="", **values)
    return draft.model_copy(update={"study_id": _id_of(draft)})


def _id_of(manifest: StudyManifest) -> str:
    content = manifest.model_dump(mode="json", exclude={"study_id"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_manifest(location: str) -> StudyManifest:
    """Read a study's manifest.

    Args:
        location: of the file, or of the directory that an export wrote.

    Raises:
        StorageError: when there is none.
        DataError: when it is no manifest, is of another version, or was changed.
    """
    path = location if location.endswith(".json") else storage.join(location, STUDY_FILE)
    content = storage.read_json(path)
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path}: format version is {version!r}, but this program reads studies of version "
            f"{FORMAT_VERSION}; give the {STUDY_FILE} that jobs/study_export.py wrote"
        )
    try:
        manifest = StudyManifest.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: not the manifest of a study: {in_one_line(error)}") from error
    if manifest.study_id != _id_of(manifest):
        raise DataError(
            f"{path}: was changed after the export: its study_id {manifest.study_id} does not "
            f"follow from its content; give the file as it was written"
        )
    return manifest
