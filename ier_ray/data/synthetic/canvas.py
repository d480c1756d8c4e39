"""A supersampled canvas that records which pixels belong to the cue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

EMOTIONS = ("happy", "sad", "hate", "anger")
MIN_SIZE = 32
OVERSAMPLING = 3
MAX_BLUR = 1
"""Largest blur radius in oversampled pixels; small, so that the mask fits the cue closely."""

Color = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

PALETTE: tuple[Color, ...] = (
    (214, 69, 65),
    (235, 149, 50),
    (244, 208, 63),
    (88, 160, 88),
    (64, 128, 190),
    (125, 90, 160),
    (230, 140, 170),
    (90, 190, 190),
    (150, 105, 75),
    (235, 235, 230),
)
"""Colors shared by cues and distractors of every emotion, so that color carries no information."""
INK: Color = (35, 32, 40)


@dataclass(frozen=True)
class Drawing:
    """A drawn sample.

    Attributes:
        image: ``(size, size, 3)`` uint8.
        cue_mask: ``(size, size)`` bool, true for every pixel that the cue touches.
        label: the emotion.
    """

    image: NDArray[np.uint8]
    cue_mask: NDArray[np.bool_]
    label: str


@dataclass(frozen=True)
class Pose:
    """Placement of a shape of unit radius: center and scale in canvas widths, angle in radians."""

    x: float
    y: float
    scale: float
    angle: float = 0.0

    def place(self, points: Points) -> list[tuple[float, float]]:
        """Map local points (y points down) to the unit canvas."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return [
            (
                self.x + self.scale * (cos * px - sin * py),
                self.y + self.scale * (sin * px + cos * py),
            )
            for px, py in points
        ]


class Canvas:
    """Draws shapes in unit coordinates; shapes drawn with ``cue=True`` also fill the cue mask.

    A later shape that is not part of the cue hides the cue below it, also in the mask.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        side = size * OVERSAMPLING
        self._image = Image.new("RGB", (side, side))
        self._mask = Image.new("L", (side, side))
        self._color = ImageDraw.Draw(self._image)
        self._cue = ImageDraw.Draw(self._mask)
        self._side = side

    def polygon(self, pose: Pose, points: Points, fill: Color, *, cue: bool = False) -> None:
        """Draw a filled polygon."""
        placed = [(x * self._side, y * self._side) for x, y in pose.place(points)]
        self._color.polygon(placed, fill=fill)
        self._cue.polygon(placed, fill=255 * cue)

    def ellipse(
        self,
        pose: Pose,
        center: tuple[float, float],
        radii: tuple[float, float],
        fill: Color,
        *,
        cue: bool = False,
    ) -> None:
        """Draw a filled ellipse, rotated with the pose."""
        self.polygon(pose, ellipse_points(center, radii), fill, cue=cue)

    def line(
        self, pose: Pose, points: Points, fill: Color, width: float, *, cue: bool = False
    ) -> None:
        """Draw a line with round ends; its width is in local units."""
        placed = [(x * self._side, y * self._side) for x, y in pose.place(points)]
        thickness = max(1.0, width * pose.scale * self._side)
        radius = thickness / 2
        for draw, color in ((self._color, fill), (self._cue, 255 * cue)):
            draw.line(placed, fill=color, width=round(thickness), joint="curve")
            for x, y in (placed[0], placed[-1]):
                box = (x - radius, y - radius, x + radius, y + radius)
                draw.ellipse(box, fill=color)

    def gradient(self, top: Color, bottom: Color) -> None:
        """Fill everything with a vertical gradient."""
        share = np.linspace(0, 1, self._side)[:, None]
        column = np.asarray(top) * (1 - share) + np.asarray(bottom) * share
        pixels = np.repeat(column[:, None].astype(np.uint8), self._side, axis=1)
        self._image.paste(Image.fromarray(pixels))

    def finish(self, rng: np.random.Generator, label: str) -> Drawing:
        """Blur, downsample, and apply a light gradient and noise, all drawn from ``rng``.

        The mask contains every pixel that the cue touched, however faintly: no pixel outside of
        it depends on the cue.
        """
        blur = ImageFilter.BoxBlur(int(rng.integers(MAX_BLUR + 1)))
        image = np.asarray(self._image.filter(blur).reduce(OVERSAMPLING), dtype=np.float64)
        mask = np.asarray(self._mask.filter(blur).reduce(OVERSAMPLING)) > 0
        direction = rng.uniform(0, 2 * math.pi)
        grid = np.linspace(-0.5, 0.5, self.size)
        slope = math.cos(direction) * grid[None, :] + math.sin(direction) * grid[:, None]
        light = rng.uniform(0.8, 1.1) + rng.uniform(0, 0.35) * slope
        noise = rng.normal(0, rng.uniform(2, 9), image.shape)
        lit = np.clip(image * light[..., None] + noise, 0, 255).astype(np.uint8)
        return Drawing(image=lit, cue_mask=mask, label=label)


def ellipse_points(
    center: tuple[float, float], radii: tuple[float, float], corners: int = 28
) -> list[tuple[float, float]]:
    """The corners of a polygon that approximates an ellipse."""
    angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    return [
        (center[0] + radii[0] * math.cos(angle), center[1] + radii[1] * math.sin(angle))
        for angle in angles
    ]


def check(emotion: str, size: int) -> None:
    """Raise ``ValueError`` for an unknown emotion or too small a size."""
    if emotion not in EMOTIONS:
        raise ValueError(f"emotion must be one of {EMOTIONS}, got {emotion!r}")
    if size < MIN_SIZE:
        raise ValueError(f"size must be >= {MIN_SIZE}, got {size}")


def pick(rng: np.random.Generator, palette: Sequence[Color]) -> Color:
    """A random color of a palette."""
    return palette[int(rng.integers(len(palette)))]


def shade(color: Color, factor: float) -> Color:
    """A color made darker (factor below 1) or lighter."""
    red, green, blue = (min(255, round(part * factor)) for part in color)
    return red, green, blue
