"""Schematic faces, posed by facial action units (FACS)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from ier_ray.data.synthetic.canvas import (
    INK,
    PALETTE,
    Canvas,
    Color,
    Drawing,
    Pose,
    check,
    pick,
    shade,
)


@dataclass(frozen=True)
class Expression:
    """Displacements of the facial features from a neutral face, in units of the head's radius."""

    inner_brow: float = 0.0
    """Inner ends of the brows; up is positive."""
    outer_brow: float = 0.0
    """Outer ends of the brows; up is positive."""
    brow_gap: float = 0.0
    """Distance of each brow from the middle; closer together is negative."""
    eye_open: float = 0.0
    """Half-height of the eyes."""
    cheek: float = 0.0
    """Raised cheeks, shown by crow's feet if positive."""
    nose_wrinkle: float = 0.0
    """Wrinkles over the nose, shown if positive."""
    lip_corner: float = 0.0
    """Corners of the mouth; up is positive."""
    mouth_width: float = 0.0
    """Half-width of the mouth."""
    mouth_open: float = 0.0
    """Opening of the mouth by the lower lip."""


ACTION_UNITS: dict[int, Expression] = {
    1: Expression(inner_brow=0.28, outer_brow=-0.05),  # inner brow raiser
    4: Expression(inner_brow=-0.12, outer_brow=0.03, brow_gap=-0.06),  # brow lowerer
    5: Expression(eye_open=0.06),  # upper lid raiser
    6: Expression(cheek=1.0, eye_open=-0.06),  # cheek raiser
    7: Expression(eye_open=-0.03),  # lid tightener
    9: Expression(nose_wrinkle=1.0, inner_brow=-0.05, eye_open=-0.04),  # nose wrinkler
    12: Expression(lip_corner=0.20, mouth_width=0.10, mouth_open=0.10),  # lip corner puller
    15: Expression(lip_corner=-0.18),  # lip corner depressor
    16: Expression(mouth_open=0.20),  # lower lip depressor
    23: Expression(mouth_width=-0.10, lip_corner=-0.01),  # lip tightener
}

UNITS_OF = {"happy": (6, 12), "sad": (1, 4, 15), "anger": (4, 5, 7, 23), "hate": (9, 15, 16)}
"""The action units usually associated with each emotion; hate is drawn as disgust."""

SKINS: tuple[Color, ...] = (
    (255, 219, 190),
    (238, 188, 150),
    (205, 145, 105),
    (160, 105, 70),
    (110, 72, 50),
    (190, 200, 150),
)


def draw_face(emotion: str, *, size: int, seed: int) -> Drawing:
    """Draw a face that shows an emotion.

    Everything that does not carry the emotion (head, pose, light, noise, occlusion) depends on
    ``seed`` alone.

    Raises:
        ValueError: for an unknown emotion or a size below 32.
    """
    check(emotion, size)
    nuisance, feature = np.random.default_rng(seed).spawn(2)
    canvas = Canvas(size)
    colors = [shade(pick(nuisance, PALETTE), nuisance.uniform(0.5, 1)) for _ in range(2)]
    canvas.gradient(colors[0], colors[1])
    pose = Pose(
        x=0.5 + nuisance.uniform(-0.14, 0.14),
        y=0.5 + nuisance.uniform(-0.12, 0.12),
        scale=nuisance.uniform(0.34, 0.48),
        angle=nuisance.uniform(-0.3, 0.3),
    )
    skin = pick(nuisance, SKINS)
    draw_head(canvas, pose, skin, nuisance)
    draw_features(canvas, pose, skin, expression_of(emotion, feature), feature)
    occlude(canvas, pose, nuisance)
    return canvas.finish(nuisance, emotion)


def expression_of(emotion: str, rng: np.random.Generator) -> Expression:
    """The sum of an emotion's action units, each with a random intensity."""
    total = Expression()
    for unit in UNITS_OF[emotion]:
        strength = rng.uniform(0.7, 1.2)
        moved = {
            part.name: getattr(total, part.name) + strength * getattr(ACTION_UNITS[unit], part.name)
            for part in fields(Expression)
        }
        total = replace(total, **moved)
    return total


def draw_head(canvas: Canvas, pose: Pose, skin: Color, rng: np.random.Generator) -> None:
    """Draw hair, ears and head, which do not depend on the emotion."""
    width, height = rng.uniform(0.72, 0.88), rng.uniform(0.9, 1.0)
    hair = shade(pick(rng, PALETTE), rng.uniform(0.25, 0.8))
    length = rng.uniform(-0.2, 0.5)
    canvas.ellipse(pose, (0, -0.12), (width + 0.12, height + 0.05), hair)
    if length > 0:
        canvas.polygon(
            pose, [(-width - 0.1, 0), (width + 0.1, 0), (width, 0.9), (-width, 0.9)], hair
        )
    for side in (-1, 1):
        canvas.ellipse(pose, (side * width, 0.02), (0.12, 0.18), shade(skin, 0.9))
    canvas.ellipse(pose, (0, 0.08), (width, height), skin)


def draw_features(
    canvas: Canvas, pose: Pose, skin: Color, face: Expression, rng: np.random.Generator
) -> None:
    """Draw brows, eyes, nose and mouth: the cue."""
    line = shade(skin, 0.35)
    gap = 0.30 + face.brow_gap
    for side in (-1, 1):
        inner = (side * (gap - 0.16), -0.34 - face.inner_brow)
        outer = (side * (gap + 0.22), -0.38 - face.outer_brow)
        canvas.line(pose, [inner, outer], INK, 0.10, cue=True)
        draw_eye(canvas, pose, (side * 0.33, -0.10), 0.11 + face.eye_open, rng)
        if face.cheek > 0:
            corner = side * 0.56
            for lift in (-0.12, 0.0, 0.12):
                tip = (corner + side * 0.14, -0.1 + 1.4 * lift)
                canvas.line(pose, [(corner, -0.1 + lift), tip], line, 0.05, cue=True)
    canvas.line(pose, [(-0.03, 0.0), (-0.08, 0.22), (0.06, 0.22)], line, 0.05)
    for place in (0, 1, 2):
        if face.nose_wrinkle > 0:
            y = -0.16 + 0.11 * place
            points = [(-0.13, y + 0.05), (0, y - 0.03), (0.13, y + 0.05)]
            canvas.line(pose, points, line, 0.05, cue=True)
    draw_mouth(canvas, pose, face, line)


def draw_eye(
    canvas: Canvas,
    pose: Pose,
    center: tuple[float, float],
    openness: float,
    rng: np.random.Generator,
) -> None:
    """Draw an eye of a given half-height."""
    openness = max(0.03, openness)
    canvas.ellipse(pose, center, (0.19, openness + 0.03), INK, cue=True)
    canvas.ellipse(pose, center, (0.16, openness), (245, 245, 245), cue=True)
    pupil = min(0.085, openness)
    looking = (center[0] + rng.uniform(-0.04, 0.04), center[1])
    canvas.ellipse(pose, looking, (pupil, pupil), INK, cue=True)


def draw_mouth(canvas: Canvas, pose: Pose, face: Expression, line: Color) -> None:
    """Draw a mouth: its corners up or down, and open where the lower lip drops."""
    half = 0.30 + face.mouth_width
    x = np.linspace(-1, 1, 13)
    # A parabola: the corners and the middle move in opposite directions.
    upper = 0.54 + face.lip_corner * (0.5 - x**2)
    lower = upper + face.mouth_open * (1 - x**2)
    top = [(half * float(u), float(v)) for u, v in zip(x, upper, strict=True)]
    bottom = [(half * float(u), float(v)) for u, v in zip(x, lower, strict=True)]
    if face.mouth_open > 0.05:
        canvas.polygon(pose, top + bottom[::-1], (120, 25, 35), cue=True)
    canvas.line(pose, top, line, 0.09, cue=True)
    canvas.line(pose, bottom, line, 0.09, cue=True)


def occlude(canvas: Canvas, pose: Pose, rng: np.random.Generator) -> None:
    """Sometimes draw a bar over the side of the face, which never hides all of the features."""
    if rng.random() > 0.3:
        return
    color = pick(rng, PALETTE)
    side, angle = rng.choice((-1, 1)), rng.uniform(-0.5, 0.5)
    x, y = side * rng.uniform(0.55, 0.85), rng.uniform(-0.5, 0.7)
    bar = Pose(pose.x + pose.scale * x, pose.y + pose.scale * y, pose.scale, pose.angle + angle)
    canvas.polygon(bar, [(-0.2, -0.35), (0.2, -0.35), (0.2, 0.35), (-0.2, 0.35)], color)
