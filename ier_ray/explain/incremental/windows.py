"""Windows of maps: cut out of backgrounds, pasted over each other, a batch at a time.

Maps are kept with their channels last, ``(M, H, W, C)``: a pixel is one contiguous row, and cutting
and pasting windows means copying rows. Positions are computed with numpy on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ier_ray.explain.incremental.operations import Corners, Size


@dataclass(frozen=True)
class Extents:
    """The part of a map that masking changes, for each masked image.

    Attributes:
        start, stop: ``(M, 2)``; first row and column, and the first beyond.
        size: height and width of the map.
    """

    start: Corners
    stop: Corners
    size: Size

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> Extents:
        return Extents(self.start[rows], self.stop[rows], self.size)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """``(M, 2)``: height and width of each window."""
        return self.stop - self.start

    def common(self) -> tuple[Corners, Size]:
        """Windows of one size, inside the map, each of which contains its extent."""
        rows, columns = self.sizes.max(0).tolist()
        return np.minimum(self.start, np.array(self.size) - (rows, columns)), (rows, columns)

    def covers(self) -> NDArray[np.bool_]:
        """``(M, H · W)``: which positions of the map each extent covers."""
        rows, columns = (
            (self.start[:, axis, None] <= np.arange(self.size[axis]))
            & (np.arange(self.size[axis]) < self.stop[:, axis, None])
            for axis in (0, 1)
        )
        covered: NDArray[np.bool_] = rows[:, :, None] & columns[:, None, :]
        return covered.reshape(len(covered), -1)

    @classmethod
    def union(cls, parts: Sequence[Extents]) -> Extents:
        """The smallest windows that contain all parts."""
        start = np.min([part.start for part in parts], axis=0)
        return cls(start, np.max([part.stop for part in parts], axis=0), parts[0].size)


@dataclass(frozen=True)
class Window:
    """Values of a map inside one window for each masked image.

    Attributes:
        values: ``(M, h, w, C)``.
        start: ``(M, 2)``; where the window lies in the map.
    """

    values: Tensor
    start: Corners

    @property
    def size(self) -> Size:
        """Height and width of the windows."""
        return self.values.shape[1], self.values.shape[2]

    def __getitem__(self, rows: NDArray[np.int64]) -> Window:
        chosen = torch.from_numpy(rows).to(self.values.device)
        return Window(self.values.index_select(0, chosen), self.start[rows])


def cut(maps: Tensor, image: NDArray[np.int64], start: Corners, size: Size) -> Tensor:
    """Windows ``(M, h, w, C)``: the m-th from ``maps[image[m]]``, beginning at ``start[m]``."""
    pixels = positions(image, start, size, (maps.shape[1], maps.shape[2]))
    return take(maps, torch.from_numpy(pixels).to(maps.device))


def take(maps: Tensor, pixels: Tensor) -> Tensor:
    """Pixels ``(..., C)`` by their flat indices in a batch of maps."""
    channels = maps.shape[-1]
    found = maps.reshape(-1, channels).index_select(0, pixels.reshape(-1))
    return found.view(*pixels.shape, channels)


def positions(
    image: NDArray[np.int64], start: Corners, size: Size, full: Size
) -> NDArray[np.int64]:
    """Flat indices ``(M, h, w)`` of windows' pixels in a batch of maps of the size ``full``."""
    first = (image * full[0] + start[:, 0]) * full[1] + start[:, 1]
    offset = np.arange(size[0])[:, None] * full[1] + np.arange(size[1])
    return first[:, None, None] + offset


def paste(onto: Tensor, image: NDArray[np.int64], origin: Corners, window: Window) -> None:
    """Write windows into maps, in place, without the pixels that lie beyond them.

    Args:
        onto: ``(N, H, W, C)``, contiguous.
        image: ``(M,)``; index in ``onto`` of each window's map.
        origin: ``(M, 2)``; position of the first pixel of ``onto[image[m]]`` in the map that
            ``window.start`` refers to.
    """
    full, offset = (onto.shape[1], onto.shape[2]), window.start - origin
    target = torch.from_numpy(positions(image, offset, window.size, full).reshape(-1))
    values = wide(window.values.reshape(-1, window.values.shape[-1]))
    if offset.min() < 0 or (offset + window.size > full).any():
        keep = torch.from_numpy(np.flatnonzero(_within(offset, window.size, full)))
        target, values = target[keep], values.index_select(0, keep.to(values.device))
    wide(onto.view(-1, onto.shape[-1]))[target.to(onto.device)] = values


def _within(offset: Corners, size: Size, full: Size) -> NDArray[np.bool_]:
    """``(M, h, w)``: which pixels of windows lie inside the map."""
    lines = [offset[:, axis, None] + np.arange(size[axis]) for axis in (0, 1)]
    rows, columns = ((line >= 0) & (line < full[axis]) for axis, line in enumerate(lines))
    inside: NDArray[np.bool_] = rows[:, :, None] & columns[:, None, :]
    return inside


def wide(pixels: Tensor) -> Tensor:
    """Pixels ``(N, C)`` for copying: viewed as ``complex128`` where their bytes allow.

    torch copies rows element by element; four float32 as one element are two to four times faster.
    """
    if pixels.shape[-1] * pixels.element_size() % torch.complex128.itemsize:
        return pixels
    return pixels.view(torch.complex128)
