"""Single images to explain or show: from files, or a few per class from a shard set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ier_ray import storage
from ier_ray.data.images import Pixels
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.shards import RowReader, ShardSet, unreadable
from ier_ray.errors import DataError, ImageError


@dataclass(frozen=True)
class NamedImage:
    """An image at the network's size, with its label and cue mask where known."""

    name: str
    pixels: Pixels
    """``(S, S, 3)`` uint8."""
    label: str | None = None
    cue_mask: NDArray[np.bool_] | None = None
    """``(S, S)``, true for the pixels that carry the label."""


def images_from_files(
    locations: Sequence[str], *, preprocessing: Preprocessing
) -> list[NamedImage]:
    """Decode image files, local or on S3.

    Raises:
        StorageError: when a file is missing.
        DataError: when a file is not an image.
    """
    images = []
    for location in locations:
        try:
            pixels = preprocessing.decode(storage.read_bytes(location))
        except ImageError as error:
            raise DataError(f"{location}: {error}") from error
        images.append(NamedImage(PurePosixPath(location).stem, pixels))
    return images


def images_from_shards(
    location: str, *, per_class: int, fold: int, preprocessing: Preprocessing
) -> list[NamedImage]:
    """The first ``per_class`` images of each class in a fold, class by class.

    Raises:
        DataError: when the shard set is missing, the fold holds no image, or one is unreadable.
    """
    shards = ShardSet.open(location)
    index = shards.index()
    in_fold = np.flatnonzero(index.fold == fold)
    chosen = [
        in_fold[index.label[in_fold] == label][:per_class]
        for label in range(len(shards.scheme.classes))
    ]
    rows = np.concatenate(chosen)
    if not len(rows):
        raise DataError(f"{location}: fold {fold} holds no image")
    columns = {name: getattr(index, name)[rows] for name in ("file", "row_group", "row")}
    names = ["image", "label", "sample_id", "cue_mask"]
    table = RowReader.of(shards, preprocessing.image_size).table(columns, names)
    return [_named(row, preprocessing) for row in table.to_pylist()]


def _named(row: dict[str, Any], preprocessing: Preprocessing) -> NamedImage:
    mask = row["cue_mask"]
    try:
        return NamedImage(
            name=row["sample_id"],
            pixels=preprocessing.decode(row["image"]),
            label=row["label"],
            cue_mask=None if mask is None else preprocessing.decode_mask(mask),
        )
    except ImageError as error:
        raise unreadable(row["sample_id"], error) from error
