"""Credit maps as transparent layers over a picture, and their color bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from ier_ray.explain.rendering import COLORMAP, saturation
from ier_ray.report.pictures import data_uri

LEAST_OPACITY = 0.1
"""Of a pixel without credit."""
BAR_STEPS = 9


@dataclass(frozen=True)
class Layer:
    """A level of a map, to be laid over its picture."""

    uri: str
    regions: int
    limit: str
    """Credit at the ends of the color bar."""


def layer(credit: NDArray[np.float64], regions: int) -> Layer:
    """Red regions support the class, blue ones oppose it; small credit lets the picture through.

    Args:
        credit: ``(S, S)``, per area.
        regions: of the level.
    """
    limit = saturation(credit)
    colors = colored(np.clip(credit / limit, -1, 1))
    shown = limit if credit.any() else 0.0
    return Layer(data_uri(Image.fromarray(colors)), regions, f"{shown:.2g}")


def colored(strength: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colors and opacity ``(..., 4)`` of credits from -1 to 1."""
    rgba = colormaps[COLORMAP]((strength + 1) / 2)
    rgba[..., 3] = LEAST_OPACITY + (1 - LEAST_OPACITY) * np.abs(strength)
    found: NDArray[np.uint8] = (rgba * 255).round().astype(np.uint8)
    return found


def bar_colors() -> str:
    """The color bar from -1 to 1 as stops of a CSS gradient."""
    stops = colored(np.linspace(-1, 1, BAR_STEPS)).tolist()
    return ", ".join(f"rgba({r}, {g}, {b}, {a / 255:.3f})" for r, g, b, a in stops)
