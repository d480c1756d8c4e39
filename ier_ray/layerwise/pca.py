"""Principal components of a layer's embeddings, the same axes for all classes.

They come from the Gram matrix of the images where that fits into memory (some thousand images), and
from a streaming subspace iteration beyond. A layer has up to a million numbers an image, so that a
matrix of their covariances is never formed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.floating[Any]]
"""Embeddings ``(n, D)`` of some images, one a row."""
Blocks = Callable[[], Iterable[Rows]]
"""Gives all rows, block by block, each time it is called."""

COMPONENTS = 3
CLOSE = 0.01
"""Relative gap below which two neighbouring eigenvalues do not determine their axes."""
NOISE = 1e-6
"""Eigenvalues below this part of the largest are rounding, not components."""
CHUNK_BYTES = 64 * 2**20
DIMENSIONS = 8
"""Of the subspace that is iterated: more than the components, so that these converge faster."""
PASSES = 8


@dataclass(frozen=True, eq=False)
class Components:
    """The first components of N embeddings, or as many as there are.

    Attributes:
        scores: ``(N, C)``; of each component the entry of largest magnitude is positive.
        eigenvalues: ``(C,)`` of the covariance (divisor N), in descending order.
        explained: ``(C,)`` parts of the total variance.
        gaps: ``(C,)`` what the next eigenvalue lacks to each, as a part of it; 1 after the last.
    """

    scores: Floats
    eigenvalues: Floats
    explained: Floats
    gaps: Floats

    @property
    def undetermined(self) -> list[int]:
        """Components that share a plane with the next one: any axes in it would do as well."""
        return [int(index) for index in np.flatnonzero(self.gaps < CLOSE)]


def gram_matrix(rows: Rows) -> Floats:
    """Inner products ``(N, N)`` of embeddings ``(N, D)`` about their mean.

    Rows of half precision are computed in single precision, some columns at a time: rows may be a
    file that does not fit into memory.
    """
    count, width = rows.shape
    precision = np.promote_types(rows.dtype, np.float32)
    step = max(1, CHUNK_BYTES // (count * precision.itemsize))
    found = np.zeros((count, count))
    for start in range(0, width, step):
        columns = rows[:, start : start + step].astype(precision)
        columns -= columns.mean(0, dtype=np.float64).astype(precision)
        found += columns @ columns.T
    return found


def coordinates(gram: Floats) -> tuple[Floats, float]:
    """All component scores ``(N, R)``: the embeddings about their mean, rotated into R axes.

    ``V √λ`` of the eigenvectors and eigenvalues of a Gram matrix ``(N, N)`` about the mean.
    Distances, and so whatever a linear model with a spherical penalty does, are those of the
    embeddings themselves.

    Returns:
        The scores, and the total variance of the embeddings.
    """
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = _rank(values)
    return _signed(vectors[:, :rank] * np.sqrt(values[:rank])), float(np.trace(gram)) / len(gram)


def streamed_coordinates(
    blocks: Blocks, *, seed: int, dimensions: int = DIMENSIONS, passes: int = PASSES
) -> tuple[Floats, float]:
    """Scores ``(N, R)`` of the first components of embeddings that are read block by block.

    A random subspace is multiplied by the covariance once in each pass and made orthogonal again;
    it turns towards the first components. The embeddings are read ``passes + 3`` times. Memory:
    ``dimensions`` vectors of D numbers.

    Source: H. Rutishauser, Simultaneous iteration method for symmetric matrices, 1970.

    Args:
        dimensions: more than the components that are wanted, which converge faster then.

    Returns:
        The scores, R at most ``dimensions``, and the total variance of the embeddings.
    """
    mean, total, images = _moments(blocks)
    size = min(dimensions, len(mean), images)
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(mean), size)))[0]
    for _ in range(passes):
        product = np.zeros_like(basis)
        for rows in blocks():
            centered = rows - mean
            product += centered.T @ (centered @ basis)
        basis = np.linalg.qr(product)[0]
    inside = np.concatenate([(rows - mean) @ basis for rows in blocks()])
    values, vectors = np.linalg.eigh(inside.T @ inside)
    rank = _rank(values[::-1])
    return _signed(inside @ vectors[:, ::-1][:, :rank]), total


def _moments(blocks: Blocks) -> tuple[Floats, float, int]:
    """Mean ``(D,)``, total variance, and number of embeddings."""
    images, sums = 0, None
    for rows in blocks():
        images += len(rows)
        added = rows.sum(0, dtype=np.float64)
        sums = added if sums is None else sums + added
    if sums is None:
        raise ValueError("there are no embeddings")
    mean = sums / images
    total = sum(float(np.square(rows - mean).sum()) for rows in blocks()) / images
    return mean, total, images


def principal_components(scores: Floats, total: float, *, count: int = COMPONENTS) -> Components:
    """The first of the components whose scores ``(N, R)`` are given, in descending order.

    Args:
        total: variance of the embeddings, in all directions.
    """
    values = np.square(scores).mean(0)
    following = np.append(values[1:], 0.0)[: len(values)]
    gaps = 1 - following / values
    return Components(scores[:, :count], values[:count], values[:count] / total, gaps[:count])


def _rank(values: Floats) -> int:
    """How many of some eigenvalues, in descending order, are more than rounding."""
    return int((values > max(NOISE * values[0], 0.0)).sum())


def _signed(scores: Floats) -> Floats:
    """Each column so that its entry of largest magnitude, of equals the first, is positive."""
    largest = np.abs(scores).argmax(0)
    signs = np.sign(scores[largest, np.arange(scores.shape[1])])
    signed: Floats = scores * signs
    return signed
