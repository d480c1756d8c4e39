"""Deletion and insertion of pixels that are filled in from what is left around them.

A region painted black is itself a sign for a network, so curves of painted images measure the paint
as well. Here hidden pixels are interpolated from their neighbors, with a little noise, which leaves
hardly a trace of where they were (ROAD: Rong et al., ICML 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu
from torch import Tensor

NEIGHBORS = tuple(
    (dy, dx, 1 / 12 if dy and dx else 1 / 6) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
)
"""Offset and weight of each neighbor; at the border, of those that there are."""
NOISE = 0.01
"""Standard deviation of the noise, in units of the network's input."""
SHARES = tuple(np.arange(1, 10) / 10)
"""Shares of the pixels that are hidden."""


@dataclass(frozen=True)
class Curves:
    """Score of an image whose pixels are hidden in the order of an attribution.

    Attributes:
        deletion: ``(len(shares),)``; those with the largest values are hidden. Low is good.
        insertion: the same with the smallest values hidden, so that the largest show. High is good.
    """

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]

    @property
    def gap(self) -> float:
        """Mean insertion less mean deletion: 0 for an attribution that says nothing."""
        return float(self.insertion.mean() - self.deletion.mean())


def imputed(image: Tensor, hidden: NDArray[np.bool_], *, generator: torch.Generator) -> Tensor:
    """An image whose hidden pixels are noisy weighted means of their neighbors.

    Args:
        image: ``(C, H, W)``, as the network gets it.
        hidden: ``(H, W)``; at least one pixel must show.

    Raises:
        ValueError: when all pixels are hidden.
    """
    if hidden.all():
        raise ValueError("all pixels are hidden: at least one must show, to fill in the others")
    y, x = np.nonzero(hidden)
    if not len(y):
        return image.clone()
    height, width = hidden.shape
    unknown = np.full(hidden.shape, -1)
    unknown[y, x] = np.arange(len(y))
    values = image.double().cpu().numpy()
    right = np.zeros((len(y), len(values)))
    weights, entries = np.zeros(len(y)), list[tuple[NDArray[np.int64], NDArray[np.int64], float]]()
    for dy, dx, weight in NEIGHBORS:
        there = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        row = np.flatnonzero(there)
        weights[row] += weight
        neighbor = unknown[y[row] + dy, x[row] + dx]
        known = row[neighbor < 0]
        right[known] += weight * values[:, y[known] + dy, x[known] + dx].T
        entries.append((row[neighbor >= 0], neighbor[neighbor >= 0], -weight))
    own = np.arange(len(y))
    rows = np.concatenate([own, *(row for row, _, _ in entries)])
    columns = np.concatenate([own, *(column for _, column, _ in entries)])
    data = np.concatenate([weights, *(np.full(len(row), weight) for row, _, weight in entries)])
    system = coo_array((data, (rows, columns)), shape=(len(y), len(y))).tocsc()
    filled = torch.from_numpy(splu(system).solve(right).T)
    noise = torch.randn(filled.shape, generator=generator, dtype=torch.float64)
    result = image.clone()
    result[:, torch.from_numpy(hidden).to(image.device)] = (filled + NOISE * noise).to(image)
    return result


def curves(
    score: Callable[[Tensor], NDArray[np.float64]],
    image: Tensor,
    density: NDArray[np.float64],
    *,
    generator: torch.Generator,
    shares: Sequence[float] = SHARES,
) -> Curves:
    """Deletion and insertion curves of an attribution; ties are in the pixels' order.

    Args:
        score: of the explained class, ``(M,)`` of images ``(M, C, H, W)``.
        density: attribution per pixel, ``(H, W)``.
    """
    rank = np.empty(density.shape, dtype=np.int64)
    rank.flat[np.argsort(-density.ravel(), kind="stable")] = np.arange(density.size)
    counts = [round(share * density.size) for share in shares]
    masks = [rank < count for count in counts] + [rank >= density.size - count for count in counts]
    found = score(torch.stack([imputed(image, mask, generator=generator) for mask in masks]))
    return Curves(found[: len(counts)], found[len(counts) :])
