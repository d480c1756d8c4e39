"""How long batches take on a network, learned from those that it has computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

BATCH_S = 0.15
"""Most seconds that a batch is planned to take: what a cancellation or a newcomer waits for."""
MOST_BATCH_S = 0.4
"""Most, where calls are so costly that short batches would be little else."""
CALLS_SHARE = 0.15
"""Largest share of a batch's time that calls may take, if the batch can be so long."""
FIRST_S_PER_MAC = 1e-10
"""Seconds per multiply-accumulate that are assumed before the first batch."""
LEAST_SHARE = 0.05
"""Share of the largest cost from which on batches are learned from."""
WEIGHT_OF_NEW = 0.1
"""Weight of the latest batch."""


@dataclass
class Speed:
    """Seconds of a batch as a line over its multiply-accumulates: calls, and computing.

    The line is fitted by least squares, where each batch weighs less than the next. With a plain
    ratio, short batches would look slow, and the next ones would become shorter still.
    """

    _weight: float = 0.0
    _sums: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("m", "s", "mm", "ms"), 0.0)
    )

    def learn(self, macs: float, seconds: float) -> None:
        """Take a batch into the fit, unless it is so small that most calls were left out."""
        if macs < LEAST_SHARE * self.quantum:
            return
        kept = 1 - WEIGHT_OF_NEW
        self._weight = kept * self._weight + 1
        new = {"m": macs, "s": seconds, "mm": macs * macs, "ms": macs * seconds}
        self._sums = {name: kept * total + new[name] for name, total in self._sums.items()}

    @property
    def line(self) -> tuple[float, float]:
        """Seconds of the calls of a batch, and seconds per multiply-accumulate."""
        if not self._weight:
            return 0.0, FIRST_S_PER_MAC
        m, s, mm, ms = (total / self._weight for total in self._sums.values())
        spread = mm - m * m
        ratio = s / m
        slope = (ms - m * s) / spread if spread > 1e-6 * mm else ratio
        slope = min(ratio, max(slope, ratio / 4))  # noise must not make computing free
        return s - slope * m, slope

    @property
    def quantum(self) -> float:
        """Largest cost of a batch, in multiply-accumulates."""
        calls, slope = self.line
        return (self._batch_s - calls) / slope

    def seconds(self, macs: float) -> float:
        """Predicted duration of a cost, in batches as large as they may be."""
        calls, slope = self.line
        return macs * slope + calls * math.ceil(macs / self.quantum)

    @property
    def _batch_s(self) -> float:
        calls, _ = self.line
        return max(BATCH_S, min(MOST_BATCH_S, calls / CALLS_SHARE), 2 * calls)
