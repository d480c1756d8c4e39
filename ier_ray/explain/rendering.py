"""Explanations as images and files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from ier_ray.explain.dncshap import Explanation, Forest
from ier_ray.explain.regions import RegionTree

COLORMAP = "RdBu_r"
"""Red supports the class, blue opposes it."""
LONGEST = 1024
"""Longest side of an overlay in pixels, unless a size is given."""
OPACITY = 0.75
"""Of the color where the credit is largest; without credit the picture shows as it is."""


def overlay(
    picture: NDArray[np.uint8], density: NDArray[np.float64], *, size: int | None = None
) -> NDArray[np.uint8]:
    """Signed heat map over a picture, in its colors and proportions.

    Colors saturate at :func:`saturation`.

    Args:
        picture: ``(H, W, 3)``, of any size and proportions.
        density: credit per pixel ``(h, w)`` of the network's input, which shows all of the picture.
        size: longest side of the result; by default the picture's own, at most :data:`LONGEST`.
    """
    base = resized(picture, size or min(LONGEST, max(picture.shape[:2]))).astype(np.float64)
    height, width = base.shape[:2]
    strength = np.clip(stretched(density, height, width) / saturation(density), -1, 1)
    colors = colormaps[COLORMAP]((strength + 1) / 2)[..., :3] * 255
    opacity = OPACITY * np.abs(strength)[..., None]
    blended: NDArray[np.uint8] = (base * (1 - opacity) + colors * opacity).round().astype(np.uint8)
    return blended


def saturation(density: NDArray[np.float64]) -> float:
    """The credit at which colors saturate: the 99th percentile of the absolute density."""
    return float(np.percentile(np.abs(density), 99) or np.abs(density).max() or 1.0)


def fitted(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Height and width in the proportions of a shape, with a longest side of so many pixels."""
    factor = longest / max(shape)
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def stretched(density: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """A map ``(h, w)`` at another size, interpolated between the middles of its pixels."""
    plane = Image.fromarray(density.astype(np.float32))
    return np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)


def resized(picture: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """A picture in its proportions with a longest side of so many pixels.

    Enlarged, its pixels stay visible.
    """
    height, width = fitted(picture.shape[:2], longest)
    larger = longest > max(picture.shape[:2])
    filtered = Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize((width, height), filtered))


def to_npz(explanation: Explanation) -> bytes:
    """All arrays of an explanation as a compressed npz file."""
    buffer = io.BytesIO()
    optional: dict[str, Any] = {}
    if explanation.deviations is not None:
        optional["deviations"] = explanation.deviations
    if explanation.forest is not None:
        forest = explanation.forest
        optional |= {"trees": np.array(forest.trees), "density": forest.density}
        optional |= {"spread": forest.spread, "leaf_spread": forest.leaf_spread}
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
        **optional,
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
            forest=Forest(
                arrays["trees"].item(), arrays["density"], arrays["spread"], arrays["leaf_spread"]
            )
            if "trees" in arrays
            else None,
        )
