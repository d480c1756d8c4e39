"""Which images show a face: by OpenCV's detector, or in a table of the user's."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ier_ray import storage
from ier_ray.errors import DataError, SettingsError
from ier_ray.extras import optional_library
from ier_ray.study.manifest import ScreeningMethod

CASCADES = ("haarcascade_frontalface_default.xml", "haarcascade_profileface.xml")
"""Faces from the front, and profiles that look to one side; these also in the mirrored image."""
PROFILE = CASCADES[1]
LARGEST_SIDE = 640
"""Pixels of the longer side, to which larger images are reduced."""
SCALE_FACTOR = 1.1
"""Ratio of one searched size to the next."""
NEIGHBORS = 5
"""Overlapping detections that make a face: fewer find more faces, also where there are none."""
SMALLEST_FACE = 0.05
"""Side of the smallest searched face, as a share of the image's shorter side."""


class FaceScreen(Protocol):
    """Says which samples show a face."""

    @property
    def method(self) -> ScreeningMethod:
        """How it knows."""

    @property
    def tool(self) -> str:
        """What it knows it from."""

    @property
    def parameters(self) -> dict[str, float]:
        """Settings of the detector."""

    def has_face(self, sample_id: str, image: Image.Image) -> bool:
        """Whether a sample shows a face."""


class FaceDetector:
    """OpenCV's cascades of Haar-like features.

    They miss faces that are turned, covered or painted, and find some where there are none.

    Source: P. Viola and M. Jones, Rapid object detection using a boosted cascade of simple
    features, CVPR 2001.

    Raises:
        SettingsError: when OpenCV is not installed.
    """

    method: ScreeningMethod = "detect"

    def __init__(self) -> None:
        cv2 = optional_library("cv2", extra="study", use="faces detect needs")
        self.tool = f"OpenCV {cv2.__version__}: {', '.join(CASCADES)}"
        self._cascades = {
            name: cv2.CascadeClassifier(f"{cv2.data.haarcascades}{name}") for name in CASCADES
        }

    @property
    def parameters(self) -> dict[str, float]:
        """Settings of the detector."""
        return {
            "largest_side": LARGEST_SIDE,
            "scale_factor": SCALE_FACTOR,
            "neighbors": NEIGHBORS,
            "smallest_face": SMALLEST_FACE,
        }

    def has_face(self, sample_id: str, image: Image.Image) -> bool:  # noqa: ARG002 (protocol)
        """Whether a detector finds a face in the image."""
        gray = image.convert("L")
        gray.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        pixels = np.asarray(gray)
        return any(self._found(name, pixels) for name in CASCADES) or self._found(
            PROFILE, np.ascontiguousarray(pixels[:, ::-1])
        )

    def _found(self, name: str, pixels: NDArray[np.uint8]) -> bool:
        side = round(SMALLEST_FACE * min(pixels.shape))
        faces: Any = self._cascades[name].detectMultiScale(
            pixels, scaleFactor=SCALE_FACTOR, minNeighbors=NEIGHBORS, minSize=(side, side)
        )
        return len(faces) > 0


@dataclass(frozen=True)
class FaceTable:
    """A CSV file in UTF-8 with the columns ``sample_id`` and ``faces`` (how many)."""

    tool: str
    """Its location."""
    faces: dict[str, int]
    method: ScreeningMethod = "file"
    parameters: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, location: str) -> FaceTable:
        """Read the file.

        Raises:
            StorageError: when it is missing.
            DataError: when it is no such table, or names a sample twice.
        """
        try:
            text = storage.read_bytes(location).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{location}: is not in UTF-8; save it in UTF-8") from error
        rows = csv.DictReader(io.StringIO(text))
        if not {"sample_id", "faces"} <= set(rows.fieldnames or ()):
            raise DataError(
                f"{location}: must be CSV with the columns sample_id and faces, "
                f"but has {rows.fieldnames}"
            )
        faces: dict[str, int] = {}
        for row in rows:
            sample_id, number = row["sample_id"], row["faces"]
            if sample_id in faces:
                raise DataError(f"{location}: sample {sample_id!r} is listed twice")
            if number is None or not number.strip().isdecimal():
                raise DataError(
                    f"{location}: faces of sample {sample_id!r} must be their number, "
                    f"0 for none, got {number!r}"
                )
            faces[sample_id] = int(number)
        return cls(location, faces)

    def has_face(self, sample_id: str, image: Image.Image) -> bool:  # noqa: ARG002 (protocol)
        """Whether the table has faces of the sample.

        Raises:
            DataError: when the sample is not in the table.
        """
        if sample_id not in self.faces:
            raise DataError(
                f"{self.tool}: does not list sample {sample_id!r}; add its number of faces"
            )
        return self.faces[sample_id] > 0


@dataclass(frozen=True)
class NoScreen:
    """Leaves no image out for a face."""

    method: ScreeningMethod = "none"
    tool: str = ""
    parameters: dict[str, float] = field(default_factory=dict)

    def has_face(self, sample_id: str, image: Image.Image) -> bool:  # noqa: ARG002 (protocol)
        """Never."""
        return False


def face_screen(method: ScreeningMethod, table: str | None) -> FaceScreen:
    """The screen of a method.

    Raises:
        SettingsError: when the method needs a table and there is none, or the other way round.
    """
    if (method == "file") != (table is not None):
        raise SettingsError(
            "faces file needs faces_file, and faces_file needs faces file: give both or neither"
        )
    if table is not None:
        return FaceTable.read(table)
    return FaceDetector() if method == "detect" else NoScreen()
