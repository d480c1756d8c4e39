"""How far a pass is, and how fast it goes through its batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ier_ray.data.streams import JointBatch

logger = logging.getLogger(__name__)

LINE_EVERY_S = 60.0


class Bar(Protocol):
    """Progress of a pass as people see it: what tqdm's bars can do."""

    def update(self, n: int = 1, /) -> object:
        """Go on by ``n`` batches."""

    def close(self) -> object:
        """The pass has ended."""


@dataclass
class Lines:
    """A bar for where there is no terminal: a line a minute in a long pass."""

    label: str
    total: int
    every_s: float = LINE_EVERY_S
    done: int = 0
    _last: float = field(default_factory=time.monotonic)

    def update(self, n: int = 1, /) -> None:
        """Count, and say so when it is time."""
        self.done += n
        now = time.monotonic()
        if now - self._last >= self.every_s:
            self._last = now
            logger.info("%s: batch %d of %d", self.label, self.done, self.total)

    def close(self) -> None:
        """The epoch's own line follows."""


@dataclass
class Pace(Iterator[JointBatch]):
    """The batches of a pass, counted on their way.

    The rate is that of a pass once it runs: the wait for the first batch is left out, and where
    there are more the first batch too. In its step kernels are chosen and memory is taken, or with
    ``torch.compile`` the networks compiled.
    """

    batches: Iterator[JointBatch]
    bar: Bar
    images: int = 0
    """Images of both domains since :attr:`started`, on this rank."""
    started: float | None = None
    _taken: int = 0

    def __next__(self) -> JointBatch:
        if self._taken:
            self.bar.update(1)  # the one before has been used
        asked = time.perf_counter()
        batch = next(self.batches)
        self._taken += 1
        if self._taken == 1:
            self.started = time.perf_counter()
        elif self._taken == 2:
            self.started, self.images = asked, 0
        self.images += len(batch.fer.labels) + len(batch.ier.labels)
        return batch

    def seconds(self) -> float:
        """Seconds since :attr:`started`."""
        return 0.0 if self.started is None else time.perf_counter() - self.started
