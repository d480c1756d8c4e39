"""Logits that are known already, by masked image."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ier_ray.explain.masking import Rows

MOST_ROWS_KEPT = 2**18
"""Masked images whose logits are kept, over all images."""


class Memo:
    """Logits of the latest images' masked versions, by the bytes that describe each.

    The plan of a deeper tree begins with that of a shallower one, so a deeper explanation of an
    image finds most of its scores here.
    """

    def __init__(self, most_rows: int = MOST_ROWS_KEPT) -> None:
        self._most_rows = most_rows
        self._known: OrderedDict[Hashable, dict[bytes, NDArray[np.float64]]] = OrderedDict()
        self._lock = Lock()

    def fill(self, image: Hashable, keys: Sequence[bytes], logits: NDArray[np.float64]) -> Rows:
        """Write the known rows into ``logits (M, K)``; the rows that are not known."""
        with self._lock:
            known = dict(self._known.get(image, {}))
            if known:
                self._known.move_to_end(image)
        unknown = []
        for row, key in enumerate(keys):
            found = known.get(key)
            if found is None:
                unknown.append(row)
            else:
                logits[row] = found
        return np.array(unknown, dtype=np.int64)

    def add(self, image: Hashable, keys: Sequence[bytes], logits: NDArray[np.float64]) -> None:
        """Keep logits ``(M, K)``; those of the images used longest ago are dropped for them."""
        with self._lock:
            known = self._known.setdefault(image, {})
            self._known.move_to_end(image)
            known.update(zip(keys, logits, strict=True))
            while len(self._known) > 1 and sum(map(len, self._known.values())) > self._most_rows:
                self._known.popitem(last=False)
