"""Answers that annotators saved from the page of a study."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from ier_ray import storage
from ier_ray.config import Settings, in_one_line
from ier_ray.errors import DataError
from ier_ray.study.annotations import Annotation
from ier_ray.study.cues import Mask, on_grid, rectangle_mask, stroke_mask
from ier_ray.study.manifest import StudyImage, StudyManifest

FORMAT = "ier_ray study answers"
VERSION = 1
ROUNDING = 1e-6
"""By which a rectangle may leave the image."""

Share = Annotated[float, Field(ge=0, le=1)]
"""Of the image's width or height."""


class Rectangle(Settings):
    """A marked rectangle."""

    kind: Literal["rectangle"]
    x: Share
    """Of the upper left corner."""
    y: Share
    width: Share
    height: Share

    @model_validator(mode="after")
    def _inside(self) -> Rectangle:
        if max(self.x + self.width, self.y + self.height) > 1 + ROUNDING:
            raise ValueError("the rectangle leaves the image")
        return self

    def mask(self, image: StudyImage) -> Mask:
        """The marked pixels."""
        corner = (self.x * image.width, self.y * image.height)
        sides = (self.width * image.width, self.height * image.height)
        return rectangle_mask((image.height, image.width), corner, sides, 0.0)


class Stroke(Settings):
    """A brush stroke."""

    kind: Literal["stroke"]
    radius: Annotated[float, Field(gt=0, le=0.5)]
    """Of the brush, as a share of the image's width."""
    points: Annotated[list[tuple[Share, Share]], Field(min_length=1, max_length=100_000)]
    """x and y of each point."""

    def mask(self, image: StudyImage) -> Mask:
        """The marked pixels."""
        points = [(x * image.width, y * image.height) for x, y in self.points]
        return stroke_mask((image.height, image.width), points, self.radius * image.width)


class Answer(Settings):
    """An annotator's answer to one image."""

    image: str
    label: str | None
    """None where the annotator has not chosen a class."""
    cues: list[Annotated[Rectangle | Stroke, Field(discriminator="kind")]]


class PageAnswers(Settings):
    """A file that the page saved. Answers are in the order in which the images were shown."""

    format: Literal["ier_ray study answers"]
    version: Literal[1]
    study: str
    annotator: Annotated[str, Field(min_length=1, max_length=200)]
    consent: Literal[True]
    """The annotator has agreed to the consent text."""
    consent_sha256: str
    answers: list[Answer]


def read_page_answers(location: str, manifest: StudyManifest) -> list[Annotation]:
    """The annotations in a file.

    Raises:
        StorageError: when it is missing or not JSON.
        DataError: when it is no such file, is of another study, or has a class or an image that
            the study has not.
    """
    try:
        saved = PageAnswers.model_validate(storage.read_json(location))
    except ValidationError as error:
        raise DataError(
            f"{location}: not a file that the page of a study saved: {in_one_line(error)}"
        ) from error
    if saved.study != manifest.study_id:
        raise DataError(
            f"{location}: annotator {saved.annotator!r} annotated study {saved.study}, but this is "
            f"study {manifest.study_id}; give the study.json of that export"
        )
    if saved.consent_sha256 != manifest.consent_sha256:
        raise DataError(
            f"{location}: annotator {saved.annotator!r} agreed to another consent text than "
            f"that of study {manifest.study_id}"
        )
    images = {image.image_id: image for image in manifest.images}
    return [
        _annotation(location, saved.annotator, answer, images, manifest.classes)
        for answer in saved.answers
    ]


def _annotation(
    location: str,
    annotator: str,
    answer: Answer,
    images: dict[str, StudyImage],
    classes: list[str],
) -> Annotation:
    where = f"{location}: image {answer.image}, annotator {annotator!r}"
    if answer.image not in images:
        raise DataError(f"{where}: is no image of this study")
    if answer.label is not None and answer.label not in classes:
        raise DataError(f"{where}: class {answer.label!r} is not one of {classes}")
    image = images[answer.image]
    mask = np.zeros((image.height, image.width), dtype=np.bool_)
    for cue in answer.cues:
        mask |= cue.mask(image)
    return Annotation(location, annotator, answer.image, answer.label, on_grid(mask))
