"""A supersampled canvas that remembers which pixels belong to the cue."""

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
"""Radius in oversampled pixels, small so that the mask stays close to the cue."""

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
"""Colors shared by cues and distractors of every emotion, so that color tells nothing."""
INK: Color = (35, 32, 40)


@dataclass(frozen=True)
class Drawing:
    """A drawn sample.

    Attributes:
        image: ``(size, size, 3)`` uint8.
        cue_mask: ``(size, size)`` bool, every pixel that the cue touches.
        label: the emotion.
    """

    image: NDArray[np.uint8]
    cue_mask: NDArray[np.bool_]
    label: str


@dataclass(frozen=True)
class Pose:
    """Where a shape of about unit radius stands: center and scale in canvas widths, turned."""

    x: float
    y: float
    scale: float
    angle: float = 0.0

    def place(self, points: Points) -> list[tuple[float, float]]:
        """Local points (y downwards) on the unit canvas."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return [
            (
                self.x + self.scale * (cos * px - sin * py),
                self.y + self.scale * (sin * px + cos * py),
            )
            for px, py in points
        ]


class Canvas:
    """Draws shapes in unit coordinates; shapes drawn as cue also fill the cue mask.

    A later shape that is not cue hides the cue below it, in the mask too.
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
        """A filled polygon."""
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
        """A filled ellipse, turned with the pose."""
        self.polygon(pose, ellipse_points(center, radii), fill, cue=cue)

    def line(
        self, pose: Pose, points: Points, fill: Color, width: float, *, cue: bool = False
    ) -> None:
        """A line of a width in local units, with round ends."""
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
        """Down to size, under blur, a light gradient and noise drawn from ``rng``.

        The mask holds every pixel the cue has touched, however faintly: outside it, no pixel
        depends on the cue.
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
    """An ellipse as a polygon."""
    turns = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    return [
        (center[0] + radii[0] * math.cos(turn), center[1] + radii[1] * math.sin(turn))
        for turn in turns
    ]


def check(emotion: str, size: int) -> None:
    """Raise ``ValueError`` for what cannot be drawn."""
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
