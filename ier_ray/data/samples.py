"""Single images to explain or show: from files, or a few per class from a shard set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ier_ray import storage
from ier_ray.data.images import Pixels, decode_bounded
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.shards import RowReader, ShardSet, decoding
from ier_ray.data.sources.folders import has_image_suffix
from ier_ray.errors import DataError, ImageError, StorageError


@dataclass(frozen=True)
class NamedImage:
    """An image at the network's size, with its label and cue mask where known."""

    name: str
    """Location of the file as given, or the id of the sample."""
    pixels: Pixels
    """``(S, S, 3)`` uint8."""
    label: str | None = None
    cue_mask: NDArray[np.bool_] | None = None
    """``(S, S)``, true for the pixels that carry the label."""
    location: str | None = None
    """Absolute location of the file; None for a sample of a shard set."""
    encoded: bytes | None = field(default=None, repr=False)
    """The image as the shard set stores it; None for a file, which is read again when needed."""

    @property
    def title(self) -> str:
        """A readable name, which several images may share: of a file, its name without suffix."""
        if self.location is None and not has_image_suffix(self.name):
            return self.name  # a sample that was no file
        return PurePosixPath(self.location or self.name).stem

    def picture(self, longest: int) -> Pixels:
        """The image in its own proportions and resolution, ``(H, W, 3)``.

        Args:
            longest: the longest side of a larger image is reduced to this.

        Raises:
            StorageError: when the file cannot be read any more.
        """
        encoded = self.encoded
        if encoded is None and self.location is not None:
            encoded = storage.read_bytes(self.location)
        return self.pixels if encoded is None else decode_bounded(encoded, longest)


def images_from_files(
    locations: Sequence[str], *, preprocessing: Preprocessing
) -> list[NamedImage]:
    """Decode image files, local or on S3.

    Raises:
        DataError: naming every file that is missing, is no image or is given twice, one per line.
    """
    images: dict[str, NamedImage] = {}
    problems: list[str] = []
    for name in locations:
        location = storage.absolute(name)
        if location in images:
            problems.append(f"{name}: is given twice")
            continue
        try:
            pixels = preprocessing.decode(storage.read_bytes(location))
        except StorageError as error:
            problems.append(str(error))
        except ImageError as error:
            problems.append(f"{name}: {error}")
        else:
            images[location] = NamedImage(name, pixels, location=location)
    if problems:
        raise DataError("\n".join(problems))
    return list(images.values())


def images_from_shards(
    shards: ShardSet, *, per_class: int, fold: int, preprocessing: Preprocessing
) -> list[NamedImage]:
    """The first ``per_class`` images of each class in a fold, class by class.

    Raises:
        DataError: when the fold holds no image, or one is unreadable.
    """
    index = shards.index()
    in_fold = np.flatnonzero(index.fold == fold)
    chosen = [
        in_fold[index.label[in_fold] == label][:per_class]
        for label in range(len(shards.scheme.classes))
    ]
    rows = np.concatenate(chosen)
    if not len(rows):
        folds = shards.manifest.folds
        raise DataError(
            f"{shards.location}: fold {fold} holds no image; there are folds 0 to {folds - 1}"
        )
    columns = {name: getattr(index, name)[rows] for name in ("file", "row_group", "row")}
    names = ["image", "label", "sample_id", "cue_mask"]
    table = RowReader.of(shards, preprocessing.image_size).table(columns, names)
    return [_named(row, preprocessing) for row in table.to_pylist()]


def _named(row: dict[str, Any], preprocessing: Preprocessing) -> NamedImage:
    mask = row["cue_mask"]
    with decoding(row["sample_id"]):
        return NamedImage(
            name=row["sample_id"],
            pixels=preprocessing.decode(row["image"]),
            label=row["label"],
            cue_mask=None if mask is None else preprocessing.decode_mask(mask),
            encoded=row["image"],
        )
