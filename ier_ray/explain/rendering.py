"""Explanations as images and files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.regions import RegionTree

COLORMAP = "RdBu_r"
"""Red supports the class, blue opposes it."""


def overlay(
    pixels: NDArray[np.uint8], density: NDArray[np.float64], *, size: int = 448
) -> NDArray[np.uint8]:
    """Signed heat map over a gray version of the image, ``(size, size, 3)``.

    Colors saturate at the 99th percentile of the absolute density; where the density is small
    the image shows through.
    """
    gray = np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"), dtype=np.float64)
    limit = np.percentile(np.abs(density), 99) or np.abs(density).max() or 1.0
    strength = np.clip(density / limit, -1, 1)
    colors = colormaps[COLORMAP]((strength + 1) / 2)[..., :3] * 255
    opacity = 0.15 + 0.65 * np.abs(strength)[..., None]
    blended = (gray * (1 - opacity) + colors * opacity).round().astype(np.uint8)
    image = Image.fromarray(blended).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(image)


def strip(
    pixels: NDArray[np.uint8], explanation: Explanation, target: int, *, size: int = 224
) -> NDArray[np.uint8]:
    """Overlays of every level below the root, coarse to fine, ``(size, size · depth, 3)``.

    Each level has its own color scale: colors cannot be compared between levels. A tree of one
    region is shown as its only level.
    """
    levels = range(min(1, explanation.tree.depth), explanation.tree.depth + 1)
    maps = [explanation.density_map(target, level=level) for level in levels]
    return np.concatenate([overlay(pixels, density, size=size) for density in maps], axis=1)


def to_npz(explanation: Explanation) -> bytes:
    """All arrays of an explanation as a compressed npz file."""
    buffer = io.BytesIO()
    refined = {} if explanation.deviations is None else {"deviations": explanation.deviations}
    arrays: dict[str, Any] = dict(
        rectangles=explanation.tree.rectangles,
        parent=explanation.tree.parent,
        level=explanation.tree.level,
        credits=explanation.credits,
        full=explanation.full,
        empty=explanation.empty,
        contexts=np.array(explanation.contexts),
        variant=np.array(explanation.variant),
        evaluations=np.array(explanation.evaluations),
        inference=np.array(explanation.inference),
        **refined,
    )
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def from_npz(content: bytes) -> Explanation:
    """The explanation that :func:`to_npz` wrote."""
    with np.load(io.BytesIO(content)) as arrays:
        return Explanation(
            tree=RegionTree(arrays["rectangles"], arrays["parent"], arrays["level"]),
            credits=arrays["credits"],
            full=arrays["full"],
            empty=arrays["empty"],
            contexts=arrays["contexts"].item(),
            variant=arrays["variant"].item(),
            evaluations=arrays["evaluations"].item(),
            inference=arrays["inference"].item(),
            deviations=arrays.get("deviations"),
        )
