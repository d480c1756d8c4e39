"""Masked images shared out among workers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ier_ray.explain.masking import Rows


def share(costs: NDArray[np.float64], index: int, count: int) -> Rows:
    """Rows of the ``index``-th of ``count`` workers; all shares together are all rows.

    Rows of similar cost stay together, as windows of one size are computed at once, and all shares
    cost nearly the same.

    Args:
        costs: ``(M,)``; what each row costs, above 0.
    """
    order = np.argsort(-costs, kind="stable")
    middle = costs[order].cumsum() - costs[order] / 2
    return np.sort(order[(middle * count // costs.sum()).astype(np.int64) == index])
