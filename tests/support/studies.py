"""Little studies of synthetic scenes, and annotators whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ier_ray.data.shards import ShardSet
from ier_ray.study.annotations import Annotation
from ier_ray.study.cues import GRID, Mask
from ier_ray.study.export import ExportedStudy, make_study
from ier_ray.study.faces import NoScreen
from ier_ray.study.manifest import Screening, StudyImage, StudyManifest, new_manifest
from ier_ray.study.page import default_consent

CLASSES = ["happy", "sad", "hate", "anger"]


def box(top: int, bottom: int, left: int, right: int) -> Mask:
    """A rectangle on the grid."""
    mask = np.zeros((GRID, GRID), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


NO_CUES = box(0, 0, 0, 0)


def some_manifest(images: int = 6, **changes: Any) -> StudyManifest:
    """A manifest of images that nobody drew, 40 by 20 pixels, their labels in turn."""
    values: dict[str, Any] = {
        "shards": "data/ier",
        "content_hash": "abc",
        "part": "test",
        "seed": 0,
        "question": "Which?",
        "consent_sha256": "c0",
        "classes": CLASSES,
        "images": [
            StudyImage(
                image_id=f"{number:012x}",
                sample_id=f"sample-{number}",
                label=CLASSES[number % 4],
                width=40,
                height=20,
            )
            for number in range(images)
        ],
        "screening": Screening(
            method="none", tool="", parameters={}, examined=images, counts={}, left_out=[]
        ),
    }
    return new_manifest(**values | changes)


def answered(
    manifest: StudyManifest, annotator: str, labels: NDArray[np.int64], cues: Mask = NO_CUES
) -> list[Annotation]:
    """An annotator's answers, with the same cues in all images."""
    return [
        Annotation(f"{annotator}.json", annotator, image, manifest.classes[label], cues)
        for image, label in zip(manifest.image_ids, labels.tolist(), strict=True)
    ]


def small_study(shards: str, images: int = 6, seed: int = 1, **changes: Any) -> ExportedStudy:
    """A study of the first images of a shard set."""
    opened = ShardSet.open(shards)
    values: dict[str, Any] = {
        "count": images,
        "part": "all",
        "seed": seed,
        "screen": NoScreen(),
        "largest_side": 800,
        "question": "Which emotion does this picture convey?",
        "consent": default_consent(),
    }
    return make_study(opened, opened.index(), **values | changes)


@dataclass(frozen=True)
class Bits:
    """Writes unsigned numbers bit by bit, the highest bit first."""

    bits: list[str]

    def write(self, number: int, size: int) -> None:
        self.bits.append(f"{number:0{size}b}")

    def to_bytes(self) -> list[int]:
        text = "".join(self.bits)
        text += "0" * (-len(text) % 8)
        return [int(text[start : start + 8], 2) for start in range(0, len(text), 8)]


def encode_brush(mask: NDArray[np.bool_], *, runs: bool = True) -> list[int]:
    """What Label Studio writes for a mask: an RGBA image of it, in runs of equal bytes.

    Args:
        runs: whether equal bytes are written as runs; else all bytes are written out.
    """
    values = np.zeros((*mask.shape, 4), dtype=np.uint8)
    values[mask] = (213, 94, 0, 255)
    flat = values.reshape(-1).tolist()
    sizes = [3, 4, 8, 16]
    stream = Bits([])
    stream.write(len(flat), 32)
    stream.write(8 - 1, 5)
    for size in sizes:
        stream.write(size - 1, 4)
    start = 0
    while start < len(flat):
        end = start + 1
        while runs and end < len(flat) and flat[end] == flat[start] and end - start < 2**16:
            end += 1
        end = end if runs else min(start + 100, len(flat))
        chosen = next(i for i, size in enumerate(sizes) if end - start - 1 < 2**size)
        stream.write(int(runs), 1)
        stream.write(chosen, 2)
        stream.write(end - start - 1, sizes[chosen])
        for value in flat[start : start + 1] if runs else flat[start:end]:
            stream.write(value, 8)
        start = end
    return stream.to_bytes()
