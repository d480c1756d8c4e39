"""Groups of rows that share a window size: few calls, little wasted computation.

Windows at the border of the map are smaller than those inside. One size for all wastes work on
them; a call for each size wastes calls. Groups are merged as long as that saves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.int64]


def group_by_size(sizes: Sizes, *, pixel_cost: float, call_cost: float) -> list[NDArray[np.int64]]:
    """Split rows into groups, each to be computed at the size of its largest window.

    Starts from a group for every size and merges the pair that saves most, as long as one does.

    Args:
        sizes: ``(M, 2)``; height and width of each row's window.
        pixel_cost: cost of one pixel of a window.
        call_cost: cost of one more group, in the same unit.

    Returns:
        The rows of each group, in order.
    """
    wasted = len(sizes) * sizes.max(0).prod() - sizes.prod(1).sum()
    if wasted * pixel_cost <= call_cost:
        return [np.arange(len(sizes))]
    code = sizes[:, 0] << 32 | sizes[:, 1]
    unique, member, count = np.unique(code, return_inverse=True, return_counts=True)
    bounds, label = np.stack([unique >> 32, unique & 0xFFFFFFFF], axis=1), np.arange(len(unique))
    counts = count.astype(float)
    while len(bounds) > 1:
        union = np.maximum(bounds[:, None], bounds[None]).prod(2)
        alone = counts * bounds.prod(1)
        merged = (counts[:, None] + counts[None]) * union
        extra = (merged - alone[:, None] - alone[None]) * pixel_cost - call_cost
        np.fill_diagonal(extra, np.inf)
        kept, gone = sorted(np.unravel_index(extra.argmin(), extra.shape))
        if extra[kept, gone] >= 0:
            break
        bounds[kept] = np.maximum(bounds[kept], bounds[gone])
        counts[kept] += counts[gone]
        label[label == gone] = kept
        label[label > gone] -= 1
        bounds, counts = np.delete(bounds, gone, axis=0), np.delete(counts, gone)
    owner = label[member]
    return [np.flatnonzero(owner == group) for group in range(len(bounds))]
