"""The pictures that a page shows: found by the names of samples or files, and embedded."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ier_ray import storage
from ier_ray.data.balancing import hash_ids
from ier_ray.data.images import decode_mask, decode_rgb
from ier_ray.data.schema import Domain
from ier_ray.data.shards import RowReader, ShardSet
from ier_ray.errors import DataError, ImageError, StorageError
from ier_ray.report.run import FinishedRun

LONGEST_SIDE = 448
"""Of an embedded picture, in pixels."""
PHOTOGRAPH = 160
"""Shorter side from which pictures are embedded as JPEG: smaller ones are exact as PNG."""
JPEG_QUALITY = 85
OUTLINE_SIDE, OUTLINE_PIXELS = 224, 2
OUTLINE_COLOR = (0, 224, 160, 255)


@dataclass(frozen=True)
class Picture:
    """A picture ready to be shown."""

    uri: str
    """A data URI."""
    width: int
    """Of the stored picture, in pixels."""
    height: int
    outline: str | None = None
    """Data URI of a transparent layer that outlines the pixels that carry the label, where these
    are known."""


def pictures_of(run: FinishedRun, names: Iterable[str]) -> tuple[dict[str, Picture], str | None]:
    """The pictures of samples of the run's shard sets, and of files, as far as they are there.

    Args:
        names: ids of samples, or locations of files as they were given to ``jobs/explain.py``.

    Returns:
        The pictures by name, and what a reader is told of those that are missing.
    """
    wanted = list(dict.fromkeys(names))
    found: dict[str, Picture] = {}
    problems: list[str] = []
    for domain in run.settings.domains:
        left = [name for name in wanted if name not in found]
        try:
            found |= _of_samples(run, domain, left)
        except (DataError, StorageError) as error:
            problems.append(str(error))
    for name in wanted:
        if name not in found:
            try:
                found[name] = shown(storage.read_bytes(storage.absolute(name)))
            except (StorageError, ImageError, OSError):
                continue
    missing = len(wanted) - len(found)
    if not missing:
        return found, None
    reason = f" ({'; '.join(problems)})" if problems else ""
    return found, f"{missing} of {len(wanted)} pictures are no longer where they were{reason}."


def _of_samples(run: FinishedRun, domain: Domain, names: list[str]) -> dict[str, Picture]:
    if not names:
        return {}
    location = run.settings.data.location(domain)
    shards = ShardSet.open(location)
    if shards.manifest.content_hash != run.manifest.data[domain].content_hash:
        raise DataError(f"{location}: holds other data now than the run was trained with")
    index = shards.index()
    rows = index.select(np.isin(index.hash, hash_ids(names)))
    if not len(rows):
        return {}
    columns = ["sample_id", "image", "cue_mask"]
    table = RowReader.of(shards, image_size=1).table(rows.positions, columns)
    return {
        row["sample_id"]: shown(row["image"], cue_mask=row["cue_mask"])
        for row in table.to_pylist()
        if row["sample_id"] in names
    }


def shown(encoded: bytes, *, cue_mask: bytes | None = None) -> Picture:
    """A picture of at most :data:`LONGEST_SIDE`, in its own aspect and colors.

    Args:
        cue_mask: encoded mask of the pixels that carry the label.

    Raises:
        ImageError: when the bytes are no image.
    """
    image = decode_rgb(encoded)
    width, height = image.size
    small = image.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    outline = None if cue_mask is None else outlined(decode_mask(cue_mask, OUTLINE_SIDE))
    return Picture(data_uri(small), width, height, outline)


def outlined(mask: NDArray[np.bool_]) -> str:
    """The inner edge of a mask ``(S, S)``, as a transparent layer."""
    inside = ndimage.binary_erosion(mask, iterations=OUTLINE_PIXELS, border_value=1)
    colors = np.zeros((*mask.shape, 4), dtype=np.uint8)
    colors[mask & ~inside] = OUTLINE_COLOR
    return data_uri(Image.fromarray(colors))


def data_uri(image: Image.Image) -> str:
    """An image as a data URI: small or transparent ones as PNG, photographs as JPEG."""
    buffer = io.BytesIO()
    kind = "PNG" if image.mode != "RGB" or min(image.size) < PHOTOGRAPH else "JPEG"
    options = {"quality": JPEG_QUALITY} if kind == "JPEG" else {"optimize": True}
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
