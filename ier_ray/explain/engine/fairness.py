"""How many masked images of which explanations the next batch computes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_DIVISOR = 16
"""A part of a batch is at least its cost divided by this: smaller batches waste calls."""


def fair_rows(costs: Sequence[NDArray[np.float64]], quantum: float) -> list[int]:
    """How many of its next rows each explanation computes in a batch.

    All get equal parts, as large as the one that needs least can use: a small explanation is not
    held up by what a large one could do in the same batch. If the quantum does not suffice for a
    row of each, the first explanations get one. The first of all always gets one.

    Args:
        costs: of the rows that each waits for, in order; the explanations served least come first.
        quantum: largest cost of a batch.
    """
    firsts = np.cumsum([each[0] for each in costs])
    served = max(1, int(np.searchsorted(firsts, quantum, side="right")))
    least = min(float(each.sum()) for each in costs[:served])
    part = min(quantum / served, max(least, quantum / LEAST_DIVISOR))
    counts = [0] * len(costs)
    for index in range(served):
        within = int(np.searchsorted(costs[index].cumsum(), part, side="right"))
        counts[index] = max(1, within)
    return counts
