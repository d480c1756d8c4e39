"""How faithful an explanation is to the network, and how well it points at known evidence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ier_ray.explain.shapley.game import Coalitions, Game


def positive_mass_inside(density: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    """Share of the positive attribution that lies inside a mask.

    Args:
        density: attribution per pixel ``(H, W)``.
        mask: where the evidence is ``(H, W)``.

    Returns:
        A share in [0, 1]; 0 where nothing is positive.
    """
    positive = np.clip(density, 0, None)
    total = positive.sum()
    return float(positive[mask].sum() / total) if total > 0 else 0.0


def cue_mass_ratio(densities: list[NDArray[np.float64]], masks: list[NDArray[np.bool_]]) -> float:
    """Mean positive mass inside the masks over the masks' mean share of the area.

    An uninformative explanation scores 1.
    """
    inside = np.mean([positive_mass_inside(d, m) for d, m in zip(densities, masks, strict=True)])
    return float(inside / np.mean([mask.mean() for mask in masks]))


def pointing_game(density: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    """1 if the strongest pixel lies inside a mask, else 0; where several tie, the share inside."""
    strongest = density == density.max()
    return float(mask[strongest].mean())


def insertion_curve(game: Game, values: NDArray[np.float64], target: int) -> NDArray[np.float64]:
    """Scores ``(n + 1,)`` as regions are shown on the baseline, the largest value first.

    Ties are in the regions' order.
    """
    rank = _rank(values)
    shown = rank < np.arange(len(values) + 1)[:, None]
    curve: NDArray[np.float64] = game(shown)[:, target]
    return curve


def deletion_curve(game: Game, values: NDArray[np.float64], target: int) -> NDArray[np.float64]:
    """Scores ``(n + 1,)`` as regions of the image are hidden, the largest value first."""
    rank = _rank(values)
    shown = rank >= np.arange(len(values) + 1)[:, None]
    curve: NDArray[np.float64] = game(shown)[:, target]
    return curve


def area_under(curve: NDArray[np.float64]) -> float:
    """Area under an insertion or deletion curve drawn from 0 to 1 (trapezoids)."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def infidelity(game: Game, values: NDArray[np.float64], hidden: Coalitions, target: int) -> float:
    """Mean squared error of the drop in score that values predict (Yeh et al., 2019).

    Args:
        hidden: ``(M, n)``; each row is a set of regions that are hidden together.

    Returns:
        Mean over rows of ``(Σ hidden values − (v(image) − v(without them)))²``.
    """
    everything = np.ones((1, len(values)), dtype=bool)
    scores = game(np.concatenate([everything, ~hidden]))[:, target]
    return float(((hidden @ values - (scores[0] - scores[1:])) ** 2).mean())


def instability(
    attribute: Callable[[Tensor], NDArray[np.float64]],
    image: Tensor,
    *,
    radius: float,
    samples: int,
    generator: torch.Generator,
) -> float:
    """Largest relative change of an attribution when noise is added to the image.

    Args:
        attribute: attribution of an image, any shape.
        radius: noise is uniform in ±radius, independent for each pixel and channel.

    Raises:
        ValueError: when the attribution of the image itself is zero.
    """
    original = attribute(image)
    size = np.linalg.norm(original)
    if size == 0:
        raise ValueError("the attribution of the image is zero: relative change is undefined")
    changes = []
    for _ in range(samples):
        noise = torch.rand(image.shape, generator=generator, dtype=image.dtype) * 2 - 1
        noisy = image + radius * noise.to(image.device)
        changes.append(np.linalg.norm(attribute(noisy) - original) / size)
    return float(max(changes))


def _rank(values: NDArray[np.float64]) -> NDArray[np.int64]:
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(-values, kind="stable")] = np.arange(len(values))
    return rank
