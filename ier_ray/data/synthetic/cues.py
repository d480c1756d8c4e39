"""The objects that carry the emotion of a scene. Each has a radius of about one unit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ier_ray.data.synthetic.canvas import INK, Canvas, Color, Points, Pose, ellipse_points, shade

DrawCue = Callable[[Canvas, Pose, Color], None]

OUTLINE = 0.09


def outlined(canvas: Canvas, pose: Pose, points: Points, fill: Color) -> None:
    """Draw a polygon of the cue with an ink outline."""
    canvas.polygon(pose, points, fill, cue=True)
    canvas.line(pose, [*points, points[0]], INK, OUTLINE, cue=True)


def balloons(canvas: Canvas, pose: Pose, color: Color) -> None:
    """Three balloons on strings (happy)."""
    for x, y in ((-0.5, -0.35), (0.5, -0.35), (0.0, -0.55)):
        canvas.line(pose, [(x, y + 0.3), (0, 0.95)], INK, 0.06, cue=True)
    for number, (x, y) in enumerate(((-0.5, -0.35), (0.5, -0.35), (0.0, -0.55))):
        outlined(
            canvas, pose, ellipse_points((x, y), (0.36, 0.45)), shade(color, 1 - 0.14 * number)
        )
        canvas.ellipse(pose, (x - 0.12, y - 0.16), (0.07, 0.1), (255, 255, 255), cue=True)


def flower(canvas: Canvas, pose: Pose, color: Color) -> None:
    """An open flower (happy)."""
    for turn in np.linspace(0, 2 * math.pi, 6, endpoint=False):
        center = (0.6 * math.cos(turn), 0.6 * math.sin(turn))
        outlined(canvas, pose, ellipse_points(center, (0.34, 0.34)), color)
    outlined(canvas, pose, ellipse_points((0, 0), (0.34, 0.34)), (250, 220, 120))


def rain_cloud(canvas: Canvas, pose: Pose, color: Color) -> None:
    """A cloud with falling drops (sad)."""
    puffs = (((-0.5, -0.35), 0.36), ((0.5, -0.35), 0.36), ((0.0, -0.52), 0.46))
    for center, radius in puffs:
        canvas.ellipse(pose, center, (radius + 0.08, radius + 0.08), INK, cue=True)
    canvas.polygon(pose, [(-0.9, -0.42), (0.9, -0.42), (0.8, 0.08), (-0.8, 0.08)], INK, cue=True)
    for center, radius in puffs:
        canvas.ellipse(pose, center, (radius, radius), color, cue=True)
    canvas.polygon(pose, [(-0.7, -0.4), (0.7, -0.4), (0.7, 0.0), (-0.7, 0.0)], color, cue=True)
    for column, x in enumerate((-0.6, -0.2, 0.2, 0.6)):
        start = 0.22 + 0.12 * (column % 2)
        for y in (start, start + 0.42):
            canvas.line(pose, [(x, y), (x - 0.1, y + 0.22)], INK, 0.12, cue=True)


def broken_heart(canvas: Canvas, pose: Pose, color: Color) -> None:
    """A heart with a crack (sad)."""
    turns = np.linspace(0, 2 * math.pi, 36, endpoint=False)
    heart = [
        (
            0.058 * 16 * math.sin(t) ** 3,
            -0.058
            * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
        )
        for t in turns
    ]
    outlined(canvas, pose, heart, color)
    crack = [(0.0, -0.32), (-0.2, -0.1), (0.16, 0.12), (-0.14, 0.4), (0.02, 0.95)]
    canvas.line(pose, crack, INK, 0.17, cue=True)


def skull(canvas: Canvas, pose: Pose, color: Color) -> None:
    """A skull (hate)."""
    jaw = [(-0.42, 0.4), (0.42, 0.4), (0.38, 0.95), (-0.38, 0.95)]
    outlined(canvas, pose, jaw, color)
    outlined(canvas, pose, ellipse_points((0, -0.15), (0.8, 0.72)), color)
    for side in (-1, 1):
        canvas.ellipse(pose, (side * 0.34, -0.08), (0.23, 0.26), INK, cue=True)
    canvas.polygon(pose, [(0, 0.16), (-0.12, 0.4), (0.12, 0.4)], INK, cue=True)
    for x in (-0.2, 0.0, 0.2):
        canvas.line(pose, [(x, 0.62), (x, 0.92)], INK, 0.08, cue=True)


def spider(canvas: Canvas, pose: Pose, color: Color) -> None:
    """A spider (hate, as disgust)."""
    for side in (-1, 1):
        for height, foot in ((-0.25, -0.85), (-0.08, -0.3), (0.08, 0.35), (0.25, 0.9)):
            knee = (side * 0.62, height + 0.55 * (foot - height) - 0.22)
            leg = [(side * 0.15, height * 0.6), knee, (side * 0.95, foot)]
            canvas.line(pose, leg, INK, 0.14, cue=True)
    outlined(canvas, pose, ellipse_points((0, 0.24), (0.42, 0.5)), color)
    outlined(canvas, pose, ellipse_points((0, -0.4), (0.28, 0.28)), color)


def flame(canvas: Canvas, pose: Pose, color: Color) -> None:
    """A flame (anger)."""
    outer = [
        (-0.05, -1.0), (0.28, -0.5), (0.42, -0.72), (0.72, 0.1), (0.6, 0.68), (0.2, 0.95),
        (-0.25, 0.95), (-0.62, 0.66), (-0.72, 0.1), (-0.5, -0.45), (-0.3, -0.22),
    ]  # fmt: skip
    outlined(canvas, pose, outer, color)
    inner = [(0.02, -0.2), (0.34, 0.35), (0.2, 0.78), (-0.2, 0.78), (-0.36, 0.35), (-0.14, 0.2)]
    canvas.polygon(pose, inner, (250, 235, 150), cue=True)


def burst(canvas: Canvas, pose: Pose, color: Color) -> None:
    """A comic-style explosion (anger)."""
    for reach, fill in ((1.0, color), (0.55, (250, 235, 150))):
        spikes = []
        for corner, turn in enumerate(np.linspace(0, 2 * math.pi, 18, endpoint=False)):
            radius = reach * (0.55 if corner % 2 else 1.0)
            spikes.append((radius * math.sin(turn), -radius * math.cos(turn)))
        outlined(canvas, pose, spikes, fill)


CUES: dict[str, tuple[DrawCue, ...]] = {
    "happy": (balloons, flower),
    "sad": (rain_cloud, broken_heart),
    "hate": (skull, spider),
    "anger": (flame, burst),
}
