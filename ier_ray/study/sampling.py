"""Drawing the images of a study: as many of each class as possible, without faces and copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ier_ray.data.balancing import uniforms
from ier_ray.data.images import decode_rgb
from ier_ray.data.shards import RowIndex, RowReader, ShardSet, decoding
from ier_ray.errors import DataError
from ier_ray.study.manifest import LeftOut

HasFace = Callable[[str, Image.Image], bool]
"""Whether a sample, given by id and decoded image, shows a face."""


@dataclass(frozen=True)
class DrawnSample:
    """A sample that was drawn for a study."""

    sample_id: str
    label: str
    image: Image.Image


@dataclass
class Drawn:
    """The samples of a study, and those left out on the way."""

    samples: list[DrawnSample] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def examined(self) -> int:
        """Samples that were drawn."""
        return len(self.samples) + len(self.left_out)


def even_quotas(count: int, available: Sequence[int]) -> list[int]:
    """Divide ``count`` among classes as evenly as their ``available`` images allow.

    Of what cannot be divided evenly, the first classes get one more.
    """
    quotas = [0] * len(available)
    left = min(count, sum(available))
    while left:
        growing = [c for c, most in enumerate(available) if quotas[c] < most][:left]
        for label in growing:
            quotas[label] += 1
        left -= len(growing)
    return quotas


def draw_samples(
    shards: ShardSet, rows: RowIndex, count: int, *, seed: int, has_face: HasFace
) -> Drawn:
    """Draw samples in an order that depends on the seed and the samples' ids only.

    Raises:
        DataError: when there are too few images without faces, or one cannot be decoded.
    """
    classes = len(shards.scheme.classes)
    order = np.argsort(uniforms(rows.hash, seed=seed, epoch=0), kind="stable")
    waiting = [order[rows.label[order] == label] for label in range(classes)]
    accepted = [0] * classes
    drawn, pixels = Drawn(), set[int]()
    while len(drawn.samples) < count:
        available = [a + len(w) for a, w in zip(accepted, waiting, strict=True)]
        if sum(available) < count:
            raise DataError(_too_few(shards, drawn, count))
        quotas = even_quotas(count, available)
        needed = [quota - a for quota, a in zip(quotas, accepted, strict=True)]
        taken = np.concatenate([w[:n] for w, n in zip(waiting, needed, strict=True)])
        waiting = [w[n:] for w, n in zip(waiting, needed, strict=True)]
        for row, stored in zip(taken, _read(shards, rows, taken), strict=True):
            reason = _examine(stored, int(rows.pixels[row]) in pixels, has_face, drawn)
            if not reason:
                pixels.add(int(rows.pixels[row]))
                accepted[rows.label[row]] += 1
    return drawn


def _examine(stored: dict[str, Any], is_copy: bool, has_face: HasFace, drawn: Drawn) -> str:
    sample_id = stored["sample_id"]
    with decoding(sample_id):
        image = decode_rgb(stored["image"])
    reason = "copy" if is_copy else "face" if has_face(sample_id, image) else ""
    if reason:
        drawn.left_out.append(LeftOut(sample_id=sample_id, reason=reason))
    else:
        drawn.samples.append(DrawnSample(sample_id, stored["label"], image))
    return reason


def _read(shards: ShardSet, rows: RowIndex, taken: NDArray[Any]) -> list[dict[str, Any]]:
    columns = {name: column[taken] for name, column in rows.positions.items()}
    reader = RowReader.of(shards, image_size=1)
    stored: list[dict[str, Any]] = reader.table(
        columns, ["sample_id", "label", "image"]
    ).to_pylist()
    return stored


def _too_few(shards: ShardSet, drawn: Drawn, count: int) -> str:
    faces = sum(left.reason == "face" for left in drawn.left_out)
    copies = len(drawn.left_out) - faces
    return (
        f"{shards.location}: has too few images for a study of {count}: {faces} of those drawn "
        f"show faces and {copies} are copies of others; give fewer --images, or another --part"
    )
