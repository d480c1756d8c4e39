"""Scenes without a face, in which a cue object among distractors carries the emotion."""

from __future__ import annotations

import math

import numpy as np

from ier_ray.data.synthetic.canvas import INK, PALETTE, Canvas, Drawing, Pose, check, pick, shade
from ier_ray.data.synthetic.cues import CUES

CUE_SCALE = (0.17, 0.23)
"""Radius of a cue in canvas widths."""
UPRIGHT = Pose(0.5, 0.5, 0.5)
"""The whole canvas as local units from -1 to 1."""


def draw_scene(emotion: str, *, size: int, seed: int) -> Drawing:
    """Draw a scene whose cue carries an emotion.

    Background, distractors, position and color of the cues, light and noise depend on ``seed``
    alone: outside of the cues, scenes with the same seed are equal for all emotions.

    Raises:
        ValueError: for an unknown emotion or a size below 32.
    """
    check(emotion, size)
    rng = np.random.default_rng(seed)
    canvas = Canvas(size)
    draw_background(canvas, rng)
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.uniform(0, 1, size=2)
        draw_distractor(canvas, rng, (float(x), float(y)), scale=rng.uniform(0.08, 0.17))
    poses = cue_poses(rng)
    for pose in poses:
        color = pick(rng, PALETTE)
        cues = CUES[emotion]
        cues[int(rng.random() * len(cues))](canvas, pose, color)
    if rng.random() < 0.4:
        cover_edge(canvas, poses[0], rng)
    return canvas.finish(rng, emotion)


def cover_edge(canvas: Canvas, cue: Pose, rng: np.random.Generator) -> None:
    """Draw a distractor over the cue's edge, small enough to leave the cue recognizable."""
    turn = rng.uniform(0, 2 * math.pi)
    distance = cue.scale * rng.uniform(0.7, 1.0)
    place = (cue.x + distance * math.cos(turn), cue.y + distance * math.sin(turn))
    draw_distractor(canvas, rng, place, scale=cue.scale * rng.uniform(0.18, 0.3))


def cue_poses(rng: np.random.Generator) -> list[Pose]:
    """The pose of one cue, or the poses of two that do not touch."""
    first = random_pose(rng)
    second = random_pose(rng)
    distance = np.hypot(first.x - second.x, first.y - second.y)
    separate = distance > 1.2 * (first.scale + second.scale)
    return [first, second] if separate and rng.random() < 0.2 else [first]


def random_pose(rng: np.random.Generator) -> Pose:
    """A pose at which a cue is completely inside the canvas."""
    scale = rng.uniform(*CUE_SCALE)
    x, y = rng.uniform(1.05 * scale, 1 - 1.05 * scale, size=2)
    return Pose(float(x), float(y), scale, rng.uniform(-0.3, 0.3))


def draw_background(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw sky and ground, a room, or abstract patches."""
    colors = [shade(pick(rng, PALETTE), rng.uniform(0.45, 1.0)) for _ in range(4)]
    canvas.gradient(colors[0], shade(colors[0], rng.uniform(0.6, 1.3)))
    kind, horizon = rng.integers(3), rng.uniform(-0.3, 0.7)
    if kind == 0:
        hills = [(-1.0, horizon + 0.1), (-0.4, horizon - 0.1), (0.3, horizon + 0.1), (1.0, horizon)]
        canvas.polygon(UPRIGHT, [*hills, (1, 1), (-1, 1)], colors[1])
    elif kind == 1:
        canvas.polygon(UPRIGHT, [(-1, horizon), (1, horizon), (1, 1), (-1, 1)], colors[1])
        edge = rng.uniform(-0.6, 0.6)
        canvas.line(UPRIGHT, [(edge, -1), (edge, horizon)], shade(colors[0], 0.7), 0.03)
    else:
        for color in colors[1:]:
            x, y, angle = rng.uniform(-1, 1, size=3)
            patch = Pose(0.5 + 0.5 * x, 0.5 + 0.5 * y, rng.uniform(0.2, 0.5), 3 * angle)
            canvas.polygon(patch, [(-1, -0.6), (1, -0.6), (1, 0.6), (-1, 0.6)], color)


def draw_distractor(
    canvas: Canvas, rng: np.random.Generator, place: tuple[float, float], *, scale: float
) -> None:
    """Draw a house, tree, ball or box, which does not depend on the emotion."""
    kind, color, other = rng.integers(4), pick(rng, PALETTE), pick(rng, PALETTE)
    pose = Pose(*place, scale, rng.uniform(-0.15, 0.15))
    if kind == 0:
        canvas.polygon(pose, [(-0.8, -0.1), (0.8, -0.1), (0.8, 1), (-0.8, 1)], color)
        canvas.polygon(pose, [(-1, -0.1), (0, -1), (1, -0.1)], other)
        canvas.polygon(pose, [(-0.2, 0.4), (0.2, 0.4), (0.2, 1), (-0.2, 1)], INK)
    elif kind == 1:
        canvas.polygon(pose, [(-0.15, 0), (0.15, 0), (0.15, 1), (-0.15, 1)], shade(other, 0.5))
        canvas.ellipse(pose, (0, -0.3), (0.7, 0.7), color)
    elif kind == 2:
        canvas.ellipse(pose, (0, 0), (0.8, 0.8), INK)
        canvas.ellipse(pose, (0, 0), (0.7, 0.7), color)
    else:
        canvas.polygon(pose, [(-0.8, -0.6), (0.8, -0.6), (0.8, 0.6), (-0.8, 0.6)], color)
        canvas.line(pose, [(-0.8, 0), (0.8, 0)], shade(color, 0.6), 0.12)
