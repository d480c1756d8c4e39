"""Masked images, described by where the image shows: one rectangle, or any set of regions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ier_ray.explain.regions import Rectangles
from ier_ray.explain.shapley.game import Coalitions

Rows = NDArray[np.int64]
"""Indices of masked images."""


class MaskedImages(Protocol):
    """Masked versions of one image."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice | Rows) -> Self: ...

    def pixels(self, height: int, width: int) -> NDArray[np.bool_]:
        """``(M, height, width)``: where the image shows."""

    def keys(self) -> list[bytes]:
        """What tells each masked image from others of the same image."""


@dataclass(frozen=True)
class Masking:
    """Masked images, each described by one rectangle.

    Attributes:
        rectangles: ``(M, 4)`` top, bottom, left, right.
        keeps_inside: ``(M,)``; True shows the image inside the rectangle and the baseline
            outside, False the reverse.
    """

    rectangles: Rectangles
    keeps_inside: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.keeps_inside)

    def __getitem__(self, part: slice | Rows) -> Masking:
        return Masking(self.rectangles[part], self.keeps_inside[part])

    def pixels(self, height: int, width: int) -> NDArray[np.bool_]:
        """``(M, height, width)``: where the image shows."""
        top, bottom, left, right = self.rectangles.T[:, :, None]
        y, x = np.arange(height), np.arange(width)
        rows = (y >= top) & (y < bottom)
        columns = (x >= left) & (x < right)
        inside = rows[:, :, None] & columns[:, None, :]
        shown: NDArray[np.bool_] = inside == self.keeps_inside[:, None, None]
        return shown

    def keys(self) -> list[bytes]:
        """What tells each masked image from others of the same image."""
        rows = np.column_stack([self.rectangles, self.keeps_inside]).astype(np.int32)
        return [row.tobytes() for row in rows]


@dataclass(frozen=True)
class RegionMasking:
    """Masked images described by coalitions of regions.

    Attributes:
        coalitions: ``(M, n)``; which of n regions show.
        regions: ``(height, width)``; index of each pixel's region.
    """

    coalitions: Coalitions
    regions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.coalitions)

    def __getitem__(self, part: slice | Rows) -> RegionMasking:
        return RegionMasking(self.coalitions[part], self.regions)

    def pixels(self, height: int, width: int) -> NDArray[np.bool_]:
        """``(M, height, width)``: where the image shows."""
        if self.regions.shape != (height, width):
            raise ValueError(
                f"the regions cover {self.regions.shape}, the image has {(height, width)}; "
                f"make the tree with the image's size"
            )
        shown: NDArray[np.bool_] = self.coalitions[:, self.regions]
        return shown

    def keys(self) -> list[bytes]:
        """What tells each masked image from others of the same image."""
        regions = hashlib.blake2b(self.regions.tobytes(), digest_size=16).digest()
        return [regions + row.tobytes() for row in np.packbits(self.coalitions, axis=1)]
