"""The names by which datasets call their own parts for training, validation and testing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from ier_ray.data.schema import PARTS, Part
from ier_ray.emotions import normal_form
from ier_ray.errors import DataError

_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "publictest": "val",  # FER2013's: the leaderboard during the competition
    "test": "test",
    "testing": "test",
    "privatetest": "test",  # FER2013's: the final ranking
}

_SUFFIXES = (" set", " data", " images")


def split_called(name: str) -> Part | None:
    """The part that a folder's name stands for, in any case; None where it stands for none."""
    normal = normal_form(name)
    for suffix in _SUFFIXES:  # as in train_set
        normal = normal.removesuffix(suffix)
    return _NAMES.get(normal)


def split_in_cell(cell: str, location: str, row: int) -> Part | None:
    """The part in a table's cell; None for an empty one.

    Raises:
        DataError: for any other word, naming the row.
    """
    split = split_called(cell)
    if cell.strip() and split is None:
        raise DataError(
            f"{location}: row {row} has split {cell!r}; use one of {list(_NAMES)}, "
            f"or leave it empty"
        )
    return split


def most_held_out(splits: Iterable[Part | None]) -> Part | None:
    """Test if it occurs, or else val, or else train."""
    known = [split for split in splits if split is not None]
    return max(known, key=PARTS.index, default=None)


class Placed(NamedTuple):
    """What the folders of an image say about it."""

    label: str
    split: Part | None


def place_images(root: str, paths: Iterable[str]) -> dict[str, Placed]:
    """The label and the part of each image in a folder of its label.

    The label is the first folder. Folders named for a part (train, val, test, a synonym) are never
    labels: the label is the folder below, or above if there is none below. They may lie in others,
    if most images do: ``archive/train/happy/1.jpg``. Images in no other folder have no label, and
    are left out. If ``root`` itself is named for a part, all others are in that part.
    """
    folders = {path: path.split("/")[:-1] for path in paths}
    inside = [parts for parts in folders.values() if parts]
    depths = Counter(depth for parts in inside if (depth := _depth_of_split(parts)) is not None)
    common, count = max(depths.items(), key=lambda item: item[1], default=(0, 0))
    around = common if 2 * count > len(inside) else 0
    of_root = split_called(root.rstrip("/").rpartition("/")[2])
    placed = {}
    for path, parts in folders.items():
        depth = _depth_of_split(parts)
        if depth is None or depth not in (0, around):
            label, split = parts[around : around + 1], of_root
        else:
            label = parts[depth + 1 : depth + 2] or parts[max(0, depth - 1) : depth]
            split = split_called(parts[depth])
        if label:
            placed[path] = Placed(label[0], split)
    return placed


def _depth_of_split(folders: list[str]) -> int | None:
    return next((depth for depth, name in enumerate(folders) if split_called(name)), None)
