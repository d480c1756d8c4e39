"""Clusters of duplicate images among fingerprints, without comparing all pairs.

Two images are duplicates if their pixels are equal, or if the perceptual hash of one, or of its
mirror image, differs from the other's in at most :data:`MAX_DISTANCE` of 256 bits and their
thumbnails agree. To find such pairs, the bits are divided into :data:`BANDS` bands; only images
that agree in a whole band are compared (locality-sensitive hashing, Indyk and Motwani 1998). Pairs
that differ in fewer bits than there are bands always agree in one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ier_ray.data.fingerprints import Fingerprints

MAX_DISTANCE = 32
"""Most differing bits of 256 (docs/data.md has what was measured)."""

MIN_CORRELATION = 0.95
"""Least correlation of the thumbnails' values over all pixels and colors."""

BANDS = 16
NEIGHBORS = 256
"""In a band, an image is compared with at most so many that follow it, so that many images with
similar hashes take linear time."""

BIT_ORDER_SEED = 0
CHUNK_PAIRS = 2**17
MAX_EDGES = 2**20
"""Pairs found are merged into clusters whenever there are so many, which bounds the memory."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def duplicate_clusters(prints: Fingerprints) -> NDArray[np.int64]:
    """The number ``(N,)`` of each image's cluster; an image without duplicates is its own."""
    _, first, inverse = np.unique(prints.pixels, return_index=True, return_inverse=True)
    labels: NDArray[np.int64] = first[inverse].astype(np.int64)
    distinct = np.unique(labels)
    views = _Views.of(prints, distinct[prints.textured[distinct]])
    for order, keys in _bands(views.hash):
        found, total = [], 0
        for left, right in _within_buckets(keys):
            one, other = order[left], order[right]
            new = labels[views.image[one]] != labels[views.image[other]]
            new &= ~(views.mirrored[one] & views.mirrored[other])  # their own views are compared
            for pairs in _chunks(one[new], other[new]):
                found.append(_confirmed(prints, views, *pairs))
                total += len(found[-1][0])
            if total > MAX_EDGES:
                labels, found, total = merged(labels, found), [], 0
        labels = merged(labels, found)
    return labels


@dataclass(frozen=True)
class _Views:
    """Every candidate twice: as it is, and mirrored."""

    image: NDArray[np.int64]
    """``(2M,)``: its place among the fingerprints."""
    mirrored: NDArray[np.bool_]
    """``(2M,)``."""
    hash: NDArray[np.uint8]
    """``(2M, 32)``."""

    @classmethod
    def of(cls, prints: Fingerprints, candidates: NDArray[np.int64]) -> _Views:
        return cls(
            image=np.concatenate([candidates, candidates]),
            mirrored=np.repeat([False, True], len(candidates)),
            hash=np.concatenate([prints.hash[candidates], prints.mirrored[candidates]]),
        )


def merged(labels: NDArray[np.int64], pairs: list[Pairs]) -> NDArray[np.int64]:
    """The labels after the clusters that each pair of members connects became one."""
    if not pairs:
        return labels
    left, right = (labels[np.concatenate(side)] for side in zip(*pairs, strict=True))
    return components(left, right, count=len(labels))[labels]


def components(
    left: NDArray[np.int64], right: NDArray[np.int64], *, count: int
) -> NDArray[np.int64]:
    """The connected component of each of ``count`` nodes; an edge joins ``left`` and ``right``."""
    graph = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(count, count))
    _, found = connected_components(graph, directed=False)
    component: NDArray[np.int64] = found.astype(np.int64)
    return component


def _bands(
    hashes: NDArray[np.uint8],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint16]]]:
    """Per band: the order that sorts the hashes by the band's bits, and the bits in that order.

    The bits are assigned to bands at random, so that no band holds only low frequencies, which
    many images share.
    """
    shuffled = np.random.default_rng(BIT_ORDER_SEED).permutation(8 * hashes.shape[1])
    for places in np.split(shuffled, BANDS):
        bits = (hashes[:, places // 8] >> (7 - places % 8).astype(np.uint8)) & 1
        keys = np.ascontiguousarray(np.packbits(bits, axis=1)).view(np.uint16)[:, 0]
        order = np.lexsort((hashes.view(np.uint64)[:, 0], keys))
        yield order, keys[order]


def _within_buckets(keys: NDArray[np.uint16]) -> Iterator[Pairs]:
    """All pairs of places with the same of the sorted keys, at most :data:`NEIGHBORS` apart."""
    left = np.arange(len(keys))
    for step in range(1, NEIGHBORS + 1):
        left = left[left + step < len(keys)]
        left = left[keys[left] == keys[left + step]]
        if not len(left):
            return
        yield left, left + step


def _chunks(left: NDArray[np.int64], right: NDArray[np.int64]) -> Iterator[Pairs]:
    for start in range(0, len(left), CHUNK_PAIRS):
        yield left[start : start + CHUNK_PAIRS], right[start : start + CHUNK_PAIRS]


def _confirmed(
    prints: Fingerprints, views: _Views, left: NDArray[np.int64], right: NDArray[np.int64]
) -> Pairs:
    """The images of those pairs of views whose hashes and thumbnails agree."""
    different = (views.hash[left] ^ views.hash[right]).view(np.uint64)
    near = np.bitwise_count(different).sum(axis=1, dtype=np.int64) <= MAX_DISTANCE
    left, right = left[near], right[near]
    one, other = views.image[left], views.image[right]
    flipped = (views.mirrored[left] | views.mirrored[right])[:, None, None, None]
    second = prints.thumbnail[other]
    second = np.where(flipped, second[:, :, ::-1], second)
    alike = _correlation(prints.thumbnail[one], second) >= MIN_CORRELATION
    return one[alike], other[alike]


def _correlation(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pearson's correlation of each pair of thumbnails ``(P, 8, 8, 3)``; 0 for a flat one."""
    values = (1, 2, 3)
    one, other = first.astype(np.float32), second.astype(np.float32)
    one -= one.mean(axis=values, keepdims=True)
    other -= other.mean(axis=values, keepdims=True)
    norms = np.sqrt((one**2).sum(axis=values) * (other**2).sum(axis=values))
    products: NDArray[np.float32] = (one * other).sum(axis=values)
    correlations: NDArray[np.float32] = products / np.maximum(norms, np.float32(1e-6))
    return correlations
