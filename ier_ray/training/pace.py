"""How fast a pass goes through its batches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from ier_ray.data.streams import JointBatch


@dataclass
class Pace(Iterator[JointBatch]):
    """The batches of a pass, counted on their way; the wait for the first is left out."""

    batches: Iterator[JointBatch]
    images: int = 0
    """Images of both domains so far, on this rank."""
    started: float | None = None

    def __next__(self) -> JointBatch:
        batch = next(self.batches)
        if self.started is None:
            self.started = time.perf_counter()
        self.images += len(batch.fer.labels) + len(batch.ier.labels)
        return batch

    def seconds(self) -> float:
        """Seconds since the first batch came."""
        return 0.0 if self.started is None else time.perf_counter() - self.started
