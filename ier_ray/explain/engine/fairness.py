"""Which masked images of which explanations the next batch computes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def fair_rows(costs: Sequence[NDArray[np.float64]], quantum: float) -> list[int]:
    """How many of its next rows each explanation computes in a batch.

    All get equal parts of the quantum; what one does not need is divided among the others. If the
    quantum does not suffice for a row of each, the first explanations get one. The first of all
    always gets one.

    Args:
        costs: of the rows that each waits for, in order; the explanations served least come first.
        quantum: cost of the batch.
    """
    firsts = np.cumsum([each[0] for each in costs])
    served = max(1, int(np.searchsorted(firsts, quantum, side="right")))
    counts = [0] * len(costs)
    left = quantum - firsts[served - 1]
    by_need = sorted(range(served), key=lambda index: float(costs[index].sum()))
    for position, index in enumerate(by_need):
        more = costs[index][1:].cumsum()
        further = int(np.searchsorted(more, left / (served - position), side="right"))
        counts[index] = 1 + further
        left -= more[further - 1] if further else 0.0
    return counts
