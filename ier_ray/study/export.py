"""Writing a study: its manifest, the page, a Label Studio project, and the images."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from ier_ray import storage
from ier_ray.data.parts import SplitPlan
from ier_ray.data.schema import PARTS, Part
from ier_ray.data.shards import RowIndex, ShardSet
from ier_ray.errors import DataError
from ier_ray.study.faces import FaceScreen
from ier_ray.study.label_studio import labeling_config, labeling_tasks
from ier_ray.study.manifest import (
    STUDY_FILE,
    Screening,
    StudyImage,
    StudyManifest,
    new_manifest,
)
from ier_ray.study.page import render_page
from ier_ray.study.sampling import Drawn, DrawnSample, draw_samples

Asked = Literal[Part, "all"]
PAGE_FILE = "study.html"
IMAGES = "images"
ID_DIGITS = 12
JPEG_QUALITY = 90


@dataclass(frozen=True)
class ExportedStudy:
    """A study and its images."""

    manifest: StudyManifest
    encoded: dict[str, bytes]
    """JPEG files by image id."""
    consent: str

    def write(self, output: str) -> dict[str, str]:
        """Write all files below a directory, the manifest last; the locations of the main ones.

        Raises:
            DataError: when the directory holds another study.
        """
        places = {
            "study": storage.join(output, STUDY_FILE),
            "page": storage.join(output, PAGE_FILE),
            "label_studio": storage.join(output, "label-studio"),
            "images": storage.join(output, IMAGES),
        }
        check_output(output, self.manifest)
        for image_id, jpeg in self.encoded.items():
            storage.write_bytes(storage.join(places["images"], f"{image_id}.jpg"), jpeg)
        page = render_page(self.manifest, self.encoded, consent=self.consent)
        storage.write_bytes(places["page"], page.encode())
        for name, text in {
            "config.xml": labeling_config(self.manifest),
            "consent.txt": self.consent,
        }.items():
            storage.write_bytes(storage.join(places["label_studio"], name), text.encode())
        tasks = labeling_tasks(self.manifest, self.encoded)
        storage.write_json(storage.join(places["label_studio"], "tasks.json"), tasks)
        storage.write_json(places["study"], self.manifest.model_dump(mode="json"))
        return places


def check_output(output: str, manifest: StudyManifest | None = None) -> None:
    """Raise if a directory cannot be written, or holds a study other than this one.

    Raises:
        StorageError: when it cannot be written.
        DataError: when it holds another study; without a manifest, any.
    """
    storage.check_writable(output, directory=True)
    path = storage.join(output, STUDY_FILE)
    if not storage.exists(path):
        return
    content = storage.read_json(path)
    found = content.get("study_id") if isinstance(content, dict) else None
    if manifest is None or found != manifest.study_id:
        raise DataError(
            f"{output}: holds study {found} already, whose answers need its files; choose another "
            f"--output"
        )


def rows_of_part(shards: ShardSet, part: Asked, plan: SplitPlan) -> RowIndex:
    """The rows of a part of a shard set.

    Raises:
        DataError: as :meth:`ier_ray.data.parts.SplitPlan.parts`.
    """
    index = shards.index()
    if part == "all":
        return index
    return index.select(np.equal(plan.parts(index, shards), PARTS.index(part)))


def make_study(
    shards: ShardSet,
    rows: RowIndex,
    *,
    count: int,
    part: Asked,
    seed: int,
    screen: FaceScreen,
    largest_side: int,
    question: str,
    consent: str,
) -> ExportedStudy:
    """Draw images and describe them.

    Args:
        rows: of the part.
        count: number of images.
        largest_side: pixels of the longer side, to which larger images are reduced.

    Raises:
        DataError: when there are too few images without faces.
    """
    drawn = draw_samples(shards, rows, count, seed=seed, has_face=screen.has_face)
    images, encoded = _as_exported(drawn.samples, largest_side)
    if len(encoded) < len(images):
        raise DataError(
            f"{shards.location}: {len(images) - len(encoded)} images are the same after they are "
            f"reduced to {largest_side} pixels; give a larger --largest-side, or another --seed"
        )
    manifest = new_manifest(
        shards=shards.location,
        content_hash=shards.manifest.content_hash,
        part=part,
        seed=seed,
        question=question,
        consent_sha256=hashlib.sha256(consent.encode()).hexdigest(),
        classes=list(shards.scheme.classes),
        images=sorted(images, key=lambda image: image.image_id),
        screening=_screening(screen, drawn),
    )
    return ExportedStudy(manifest, encoded, consent)


def _as_exported(
    samples: Sequence[DrawnSample], largest_side: int
) -> tuple[list[StudyImage], dict[str, bytes]]:
    """The record of each sample, and the JPEG files by image id."""
    images: list[StudyImage] = []
    encoded: dict[str, bytes] = {}
    for sample in samples:
        jpeg, (width, height) = _encoded(sample.image, largest_side)
        image_id = hashlib.sha256(jpeg).hexdigest()[:ID_DIGITS]
        encoded[image_id] = jpeg
        images.append(
            StudyImage(
                image_id=image_id,
                sample_id=sample.sample_id,
                label=sample.label,
                width=width,
                height=height,
            )
        )
    return images, encoded


def _encoded(image: Image.Image, largest_side: int) -> tuple[bytes, tuple[int, int]]:
    """A JPEG file without metadata, in the image's own aspect, and its width and height."""
    small = image.copy()
    small.thumbnail((largest_side, largest_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue(), small.size


def _screening(screen: FaceScreen, drawn: Drawn) -> Screening:
    reasons = [left.reason for left in drawn.left_out]
    return Screening(
        method=screen.method,
        tool=screen.tool,
        parameters=screen.parameters,
        examined=drawn.examined,
        counts={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        left_out=drawn.left_out,
    )


def class_counts(images: Sequence[StudyImage]) -> dict[str, int]:
    """Images of each class that has any."""
    labels = [image.label for image in images]
    return {label: labels.count(label) for label in sorted(set(labels))}
