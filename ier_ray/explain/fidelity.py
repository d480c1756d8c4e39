"""How well an explanation points at known evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def positive_mass_inside(density: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    """Share of the positive attribution that lies inside a mask.

    Args:
        density: attribution a pixel ``(H, W)``.
        mask: evidence ``(H, W)``.

    Returns:
        A share in [0, 1]; 0 where nothing is positive.
    """
    positive = np.clip(density, 0, None)
    total = positive.sum()
    return float(positive[mask].sum() / total) if total > 0 else 0.0


def cue_mass_ratio(densities: list[NDArray[np.float64]], masks: list[NDArray[np.bool_]]) -> float:
    """Mean positive mass inside the masks over the masks' mean share of the area.

    1 is what an explanation that knows nothing scores.
    """
    inside = np.mean([positive_mass_inside(d, m) for d, m in zip(densities, masks, strict=True)])
    return float(inside / np.mean([mask.mean() for mask in masks]))
