"""Logits that are known already, by masked image."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ier_ray.explain.masking import Rows

MOST_ROWS_KEPT = 2**18
"""Masked images whose logits are kept, over all images."""


@dataclass
class Known:
    """What is known of one image.

    Attributes:
        rows: logits of masked images, and for whom they were scored.
        owners: these, each once, so that identity is equality.
    """

    rows: dict[bytes, tuple[NDArray[np.float64], Hashable]] = field(default_factory=dict)
    owners: dict[Hashable, Hashable] = field(default_factory=dict)


class Memo:
    """Logits of the latest images' masked versions, by the bytes that describe each.

    The plan of a deeper tree begins with that of a shallower one, so a deeper explanation of an
    image finds most of its scores here.
    """

    def __init__(self, most_rows: int = MOST_ROWS_KEPT) -> None:
        self._most_rows = most_rows
        self._known: OrderedDict[Hashable, Known] = OrderedDict()
        self._lock = Lock()

    def fill(
        self, image: Hashable, owner: Hashable, keys: Sequence[bytes], logits: NDArray[np.float64]
    ) -> tuple[Rows, int]:
        """Write the known rows into ``logits (M, K)``.

        Returns:
            The rows that are not known, and how many of the others were scored for other owners.
        """
        with self._lock:
            known = self._known.get(image, Known())
            rows, own = dict(known.rows), known.owners.get(owner)
            if rows:
                self._known.move_to_end(image)
        unknown, by_others = [], 0
        for row, key in enumerate(keys):
            found = rows.get(key)
            if found is None:
                unknown.append(row)
            else:
                logits[row] = found[0]
                by_others += found[1] is not own
        return np.array(unknown, dtype=np.int64), by_others

    def add(
        self, image: Hashable, owner: Hashable, keys: Sequence[bytes], logits: NDArray[np.float64]
    ) -> None:
        """Keep logits ``(M, K)``; those of the images used longest ago are dropped for them.

        An image that fills the memo alone gets no more.
        """
        with self._lock:
            known = self._known.setdefault(image, Known())
            self._known.move_to_end(image)
            own = known.owners.setdefault(owner, owner)
            if len(known.rows) < self._most_rows:
                known.rows.update(zip(keys, zip(logits, repeat(own)), strict=True))
            while len(self._known) > 1 and self._rows_kept() > self._most_rows:
                self._known.popitem(last=False)

    def _rows_kept(self) -> int:
        return sum(len(each.rows) for each in self._known.values())
