"""Distances between the classes in the whole space of a layer's embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ier_ray.layerwise.pca import Blocks, Floats


@dataclass(frozen=True, eq=False)
class Separation:
    """How far K classes are apart.

    Attributes:
        distances: ``(K, K)`` between the class means.
        variances: ``(K,)`` mean squared distance of a class's images to its mean.
        separations: ``(K, K)`` distances in units of the classes' own spread,
            ``D_ij / sqrt((V_i + V_j) / 2)``; infinite where neither class has any.
    """

    distances: Floats
    variances: Floats
    separations: Floats

    @classmethod
    def of_gram(cls, gram: Floats, labels: NDArray[np.int64], classes: int) -> Separation:
        """From inner products ``(N, N)`` about any point. NaN for a class without images."""
        member = (labels == np.arange(classes)[:, None]).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = member / member.sum(1, keepdims=True)
        products = share @ gram @ share.T
        return cls._of(products, share @ gram.diagonal())

    @classmethod
    def of_blocks(cls, blocks: Blocks, labels: NDArray[np.int64], classes: int) -> Separation:
        """From embeddings that are read once, block by block, in the order of the labels."""
        start, sums, squares, origin = 0, None, np.zeros(classes), None
        counts = np.bincount(labels, minlength=classes).astype(np.float64)
        for rows in blocks():
            own = labels[start : start + len(rows)]
            start += len(rows)
            origin = rows.mean(0, dtype=np.float64) if origin is None else origin
            moved = rows - origin  # near the mean, so that little is lost by the difference below
            member = (own == np.arange(classes)[:, None]).astype(np.float64)
            added = member @ moved
            sums = added if sums is None else sums + added
            squares += member @ np.square(moved).sum(1)
        if sums is None:
            raise ValueError("there are no embeddings")
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums / counts[:, None]
            return cls._of(means @ means.T, squares / counts)

    @classmethod
    def _of(cls, products: Floats, squares: Floats) -> Separation:
        """From products ``(K, K)`` of class means, and mean squared lengths ``(K,)``."""
        own = products.diagonal()
        distances = np.sqrt(np.maximum(own[:, None] + own - 2 * products, 0.0))
        np.fill_diagonal(distances, np.where(np.isnan(own), np.nan, 0.0))
        variances = np.maximum(squares - own, 0.0)
        spread = np.sqrt((variances[:, None] + variances) / 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            separations = np.where(distances == 0, 0.0, distances / spread)
        return cls(distances, variances, separations)
