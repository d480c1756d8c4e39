"""The images whose embeddings are compared: the same number of each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def balanced_sample(labels: NDArray[np.int64], *, most: int, seed: int) -> NDArray[np.int64]:
    """Positions of up to ``most`` images of each class, as many of each as the rarest has.

    Intersection scores depend on the number of images: classes of different sizes cannot be
    compared. A class without images is no reason to draw none of the others.

    Returns:
        Positions in ascending order.
    """
    counts = np.bincount(labels)
    each = min(most, int(counts[counts > 0].min(initial=most)))
    generator = np.random.default_rng(seed)
    drawn = [
        generator.permutation(np.flatnonzero(labels == label))[:each]
        for label in np.flatnonzero(counts)
    ]
    return np.sort(np.concatenate([*drawn, np.empty(0, np.int64)]))
