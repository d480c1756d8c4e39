"""A study as a Label Studio project, and the annotations that Label Studio exports as JSON.

Format: https://labelstud.io/guide/task_format, and brush masks as in :mod:`ier_ray.study.brush`.
"""

from __future__ import annotations

import base64
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ier_ray import storage
from ier_ray.config import in_one_line
from ier_ray.errors import DataError
from ier_ray.study.annotations import Annotation
from ier_ray.study.brush import decode_brush
from ier_ray.study.cues import Mask, on_grid, rectangle_mask
from ier_ray.study.manifest import StudyImage, StudyManifest

IMAGE, EMOTION, RECTANGLE, BRUSH = "image", "emotion", "rectangle", "brush"
"""Names of the labeling interface's parts."""
CUE = "cue"


def labeling_config(manifest: StudyManifest) -> str:
    """The labeling interface: one class, and rectangles and brush strokes for cues."""
    view = ET.Element("View")
    ET.SubElement(view, "Header", value=manifest.question)
    choices = ET.SubElement(
        view, "Choices", name=EMOTION, toName=IMAGE, choice="single", required="true"
    )
    for number, name in enumerate(manifest.classes, start=1):
        hotkey = {"hotkey": str(number)} if number < 10 else {}
        ET.SubElement(choices, "Choice", {"value": name, **hotkey})
    ET.SubElement(view, "Image", name=IMAGE, value="$image", zoom="true", zoomControl="true")
    for kind, tag in ((RECTANGLE, "RectangleLabels"), (BRUSH, "BrushLabels")):
        labels = ET.SubElement(view, tag, name=kind, toName=IMAGE)
        ET.SubElement(labels, "Label", value=CUE, background="#d55e00")
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def labeling_tasks(manifest: StudyManifest, encoded: dict[str, bytes]) -> list[dict[str, Any]]:
    """Tasks to import into the project, by image id; the images are in them as data URIs.

    Args:
        encoded: JPEG files by image id.
    """
    return [
        {
            "data": {
                "image": as_data_uri(encoded[image_id]),
                "image_id": image_id,
                "study_id": manifest.study_id,
            }
        }
        for image_id in sorted(encoded)
    ]


def as_data_uri(jpeg: bytes) -> str:
    """A JPEG file as a URI that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True)


class _Value(_Record):
    choices: list[str] = Field(default_factory=list)
    x: float = Field(0, ge=-1, le=101)
    y: float = Field(0, ge=-1, le=101)
    width: float = Field(0, ge=0, le=102)
    height: float = Field(0, ge=0, le=102)
    rotation: float = 0
    format: str = ""
    rle: list[int] = Field(default_factory=list)


class _Region(_Record):
    type: str
    from_name: str
    original_width: int | None = None
    original_height: int | None = None
    value: _Value


class _Annotated(_Record):
    completed_by: int | dict[str, Any]
    was_cancelled: bool = False
    result: list[_Region]

    @property
    def annotator(self) -> str:
        """The e-mail address if exported, else Label Studio's number of the user."""
        user = self.completed_by
        if isinstance(user, int):
            return f"Label Studio user {user}"
        return str(user.get("email") or f"Label Studio user {user.get('id')}")


class _TaskData(_Record):
    image_id: str
    study_id: str


class _Task(_Record):
    data: _TaskData
    annotations: list[_Annotated]


class _Export(_Record):
    tasks: list[_Task]


def read_label_studio(location: str, manifest: StudyManifest) -> list[Annotation]:
    """The annotations in a JSON export; those of skipped tasks have no class.

    Raises:
        StorageError: when it is missing or not JSON.
        DataError: when it is no such export, is of another study, or has damaged annotations;
            the message names the image and the annotator.
    """
    try:
        export = _Export.model_validate({"tasks": storage.read_json(location)})
    except ValidationError as error:
        raise DataError(
            f"{location}: not a JSON export of Label Studio with the tasks of a study: "
            f"{in_one_line(error)}"
        ) from error
    images = {image.image_id: image for image in manifest.images}
    found: list[Annotation] = []
    for task in export.tasks:
        if task.data.study_id != manifest.study_id:
            raise DataError(
                f"{location}: image {task.data.image_id} is of study {task.data.study_id}, but "
                f"this is study {manifest.study_id}; give the study.json of that export"
            )
        if task.data.image_id not in images:
            raise DataError(f"{location}: image {task.data.image_id} is no image of this study")
        for annotated in task.annotations:
            where = f"{location}: image {task.data.image_id}, annotator {annotated.annotator!r}"
            try:
                image = images[task.data.image_id]
                found.append(_annotation(location, annotated, image, manifest.classes))
            except DataError as error:
                raise DataError(f"{where}: {error}") from error
    return found


def _annotation(
    location: str, annotated: _Annotated, image: StudyImage, classes: list[str]
) -> Annotation:
    mask = np.zeros((image.height, image.width), dtype=np.bool_)
    if annotated.was_cancelled:
        return Annotation(location, annotated.annotator, image.image_id, None, on_grid(mask))
    chosen = [
        name
        for region in annotated.result
        if region.from_name == EMOTION
        for name in region.value.choices
    ]
    if len(chosen) != 1 or chosen[0] not in classes:
        raise DataError(f"must have one class of {classes}, but has {chosen or 'none'}")
    for region in annotated.result:
        if region.from_name != EMOTION:
            mask |= _region_mask(region, image)
    return Annotation(location, annotated.annotator, image.image_id, chosen[0], on_grid(mask))


def _region_mask(region: _Region, image: StudyImage) -> Mask:
    if (region.original_width, region.original_height) != (image.width, image.height):
        raise DataError(
            f"a region is of an image of {region.original_width}x{region.original_height} "
            f"pixels, but the image has {image.width}x{image.height}"
        )
    value = region.value
    if region.type == "brushlabels" and value.format == "rle":
        return decode_brush(value.rle, height=image.height, width=image.width)
    if region.type != "rectanglelabels":
        raise DataError(
            f"a region is of type {region.type!r}; this program reads rectangles and brush strokes"
        )
    across, down = image.width / 100, image.height / 100
    return rectangle_mask(
        (image.height, image.width),
        (value.x * across, value.y * down),
        (value.width * across, value.height * down),
        value.rotation,
    )
