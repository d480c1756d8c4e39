"""Marked cues as masks: rectangles and brush strokes on an image, and the grid they share.

Pixels are inside a shape if their centers are. Masks of all images have one size, :data:`GRID`,
whatever the images' own: shares of the area are the same under this change of scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRID = 224
"""Side of all masks."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def rectangle_mask(
    size: tuple[int, int], corner: tuple[float, float], sides: tuple[float, float], degrees: float
) -> Mask:
    """A rectangle, turned clockwise about its upper left corner.

    Args:
        size: height and width of the mask in pixels.
        corner: x and y of the upper left corner in pixels.
        sides: width and height in pixels.
        degrees: angle of rotation.
    """
    x, y = _pixel_centers(size)
    across, down = x - corner[0], y - corner[1]
    angle = np.deg2rad(degrees)
    along = across * np.cos(angle) + down * np.sin(angle)
    beside = down * np.cos(angle) - across * np.sin(angle)
    inside: Mask = (along >= 0) & (along < sides[0]) & (beside >= 0) & (beside < sides[1])
    return inside


def stroke_mask(
    size: tuple[int, int], points: Sequence[tuple[float, float]], radius: float
) -> Mask:
    """The track of a round brush along straight lines.

    Args:
        size: height and width of the mask in pixels.
        points: x and y of each point in pixels, at least one.
        radius: of the brush in pixels.
    """
    mask = np.zeros(size, dtype=np.bool_)
    ends = np.asarray(points, dtype=np.float64)
    starts = ends if len(ends) == 1 else ends[:-1]
    for start, end in zip(starts, ends[-len(starts) :], strict=True):
        low = np.floor(np.minimum(start, end) - radius).astype(int).clip(0)
        high = np.ceil(np.maximum(start, end) + radius).astype(int).clip(0)
        window = mask[low[1] : high[1], low[0] : high[0]]
        x, y = _pixel_centers(window.shape)
        window |= _distance(x + low[0], y + low[1], start, end) <= radius
    return mask


def _pixel_centers(size: tuple[int, ...]) -> tuple[Floats, Floats]:
    """x ``(1, W)`` and y ``(H, 1)``."""
    across, down = (np.arange(side, dtype=np.float64) + 0.5 for side in (size[1], size[0]))
    return across[None, :], down[:, None]


def _distance(x: Floats, y: Floats, start: Floats, end: Floats) -> Floats:
    """From each point to a line segment."""
    direction = end - start
    squared = float(direction @ direction)
    share = ((x - start[0]) * direction[0] + (y - start[1]) * direction[1]) / (squared or 1.0)
    nearest = np.clip(share, 0, 1)
    distance: Floats = np.hypot(
        x - start[0] - nearest * direction[0], y - start[1] - nearest * direction[1]
    )
    return distance


def on_grid(mask: Mask) -> Mask:
    """A mask of any size as ``(GRID, GRID)``: cells that it covers at least by half.

    A mark that covers no cell by half keeps the cells that it covers most.
    """
    if not mask.any():
        return np.zeros((GRID, GRID), dtype=np.bool_)
    image = Image.fromarray(mask.astype(np.float32))
    covered = np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX))
    marked: Mask = covered >= min(0.5, float(covered.max()))
    return marked
