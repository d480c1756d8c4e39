"""The names by which datasets call their own parts for training, validation and testing."""

from __future__ import annotations

from collections.abc import Iterable

from ier_ray.data.schema import PARTS, Part
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


def split_called(name: str) -> Part | None:
    """The part that a folder's name stands for, in any case; None where it stands for none."""
    return _NAMES.get(name.strip().lower())


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
