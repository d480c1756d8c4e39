"""How far maps of an image overlap with the cues that annotators marked.

A map is ``(GRID, GRID)``, larger where more speaks for the class: an explanation's credit per
pixel, another annotator's marks, or a bump in the center. Each is scored by one function, so that
their scores can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ier_ray.explain.metrics import pointing_game, positive_mass_inside
from ier_ray.study.cues import GRID, Floats, Mask

CENTER_DEVIATION = 0.25
"""Standard deviation of the center's bump, as a share of the image's sides."""
MEASURES = ("mass", "iou", "pointing")


@dataclass(frozen=True)
class Overlap:
    """Scores of a map and a mask, each in [0, 1]."""

    mass: float
    """Share of the map's positive values inside the mask."""
    iou: float
    """Intersection over union of the mask and the map's largest pixels, as many as the mask's."""
    pointing: float
    """1 if the map's largest pixel is inside the mask; where several tie, the share inside."""

    @classmethod
    def mean(cls, scores: Sequence[Overlap]) -> Overlap:
        """The mean of each score."""
        rows = np.asarray([[getattr(one, name) for name in MEASURES] for one in scores])
        return cls(*rows.mean(0).tolist())


def overlap(values: Floats, mask: Mask) -> Overlap:
    """Scores of a map and a mask of the same shape; the mask is not empty."""
    area = int(mask.sum())
    common = _largest(values, area)[mask].sum(keepdims=True)
    return Overlap(
        mass=positive_mass_inside(values, mask),
        iou=float(_iou(common, area)[0]),
        pointing=pointing_game(values, mask),
    )


def random_overlap(values: Floats, mask: Mask) -> Overlap:
    """Mean scores of a map that is moved at random, around the image's edges.

    The map keeps its shape, and its place says nothing. The mean is over all moves, exactly.
    """
    area = int(mask.sum())
    top = _largest(values, area)
    transformed = np.fft.rfft2(top) * np.conj(np.fft.rfft2(mask.astype(np.float64)))
    common = np.fft.irfft2(transformed, s=mask.shape).clip(0, area)
    share = area / mask.size  # every pixel of the map is anywhere equally often
    has_mass = bool((values > 0).any())
    return Overlap(
        mass=share if has_mass else 0.0, iou=float(_iou(common, area).mean()), pointing=share
    )


def center_map() -> Floats:
    """A Gaussian bump in the middle: where photographers place what matters."""
    offsets = (np.arange(GRID) + 0.5) / GRID - 0.5
    bump = np.exp(-(offsets**2) / (2 * CENTER_DEVIATION**2))
    values: Floats = bump[:, None] * bump[None, :]
    return values


def _largest(values: Floats, area: int) -> Floats:
    """Weights in [0, 1] of the ``area`` largest pixels; pixels that tie for the last share it."""
    threshold = np.partition(values.reshape(-1), -area)[-area]
    above, tied = values > threshold, values == threshold
    left = area - int(above.sum())
    weights: Floats = above + tied * (left / int(tied.sum()))
    return weights


def _iou(common: Floats, area: int) -> Floats:
    """Of two sets of equal area, by the area that they have in common."""
    ratio: Floats = common / (2 * area - common)
    return ratio
