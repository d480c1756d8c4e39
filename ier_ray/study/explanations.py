"""Explanations of a study's images, as ``jobs/explain.py`` writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ier_ray import storage
from ier_ray.config import in_one_line
from ier_ray.errors import DataError
from ier_ray.records import Leaf
from ier_ray.study.annotations import named
from ier_ray.study.cues import GRID, Floats
from ier_ray.study.manifest import StudyManifest


@dataclass(frozen=True, eq=False)
class ExplainedStudyImage:
    """The explanation of an image of a study."""

    target: str
    """The explained class."""
    density: Floats
    """Credit per pixel ``(GRID, GRID)``."""


class _Record(BaseModel):
    """What is read of an explanation's JSON file."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True)

    name: str
    target: str
    image_size: int = Field(ge=1)
    leaves: list[Leaf]

    def density(self) -> Floats:
        """Credit per pixel, on the grid that all masks have."""
        size = self.image_size
        values = np.zeros((size, size))
        for leaf in self.leaves:
            if not (0 <= leaf.top < leaf.bottom <= size and 0 <= leaf.left < leaf.right <= size):
                raise DataError(f"explanation of {self.name}: a region leaves the image: {leaf}")
            area = (leaf.bottom - leaf.top) * (leaf.right - leaf.left)
            values[leaf.top : leaf.bottom, leaf.left : leaf.right] += leaf.value / area
        nearest = (np.arange(GRID) * size + size // 2) // GRID
        grid: Floats = values[np.ix_(nearest, nearest)]
        return grid


def read_explanations(location: str, manifest: StudyManifest) -> list[ExplainedStudyImage]:
    """The explanation of each image of a study, in the order of the manifest.

    Explanations are found by the sample's id or the name of the exported image file. Those of
    other images are left aside.

    Args:
        location: directory that ``jobs/explain.py`` wrote.

    Raises:
        StorageError: when the directory is missing.
        DataError: when an image has no explanation or several, or a file is not an explanation.
    """
    found = _by_image(location, manifest)
    missing = [image for image in manifest.image_ids if image not in found]
    if missing:
        raise DataError(
            f"{location}: {len(missing)} of {len(manifest.images)} images of the study have no "
            f"explanation here ({named(missing)}); make them with jobs/explain.py --images "
            f"STUDY/images/*.jpg"
        )
    return [
        ExplainedStudyImage(found[image].target, found[image].density())
        for image in manifest.image_ids
    ]


def _by_image(location: str, manifest: StudyManifest) -> dict[str, _Record]:
    names = {image.sample_id: image.image_id for image in manifest.images}
    names |= {image: image for image in manifest.image_ids}
    found: dict[str, _Record] = {}
    for file in storage.list_files(location):
        if not file.endswith(".json"):
            continue
        record = _read(storage.join(location, file))
        image = names.get(record.name) or names.get(PurePosixPath(record.name).stem)
        if image is None:
            continue
        if image in found:
            raise DataError(f"{location}: image {image} is explained twice; explain it once")
        if record.target not in manifest.classes:
            raise DataError(
                f"{location}: image {image} is explained for class {record.target!r}, which is "
                f"not one of {manifest.classes}"
            )
        found[image] = record
    return found


def _read(path: str) -> _Record:
    content: Any = storage.read_json(path)
    try:
        return _Record.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: is not an explanation: {in_one_line(error)}") from error
