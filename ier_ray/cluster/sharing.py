"""Division of masked images among workers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ier_ray.explain.masking import Rows


def share(costs: NDArray[np.float64], index: int, count: int) -> Rows:
    """Rows of worker ``index`` of ``count``; each row belongs to exactly one worker.

    Rows of similar cost stay together, as windows of one size are computed in one batch, and all
    shares cost nearly the same.

    Args:
        costs: ``(M,)``; cost of each row, above 0.
    """
    order = np.argsort(-costs, kind="stable")
    middle = costs[order].cumsum() - costs[order] / 2
    return np.sort(order[(middle * count // costs.sum()).astype(np.int64) == index])
