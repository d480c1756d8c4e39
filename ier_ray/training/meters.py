"""Measurements during training: means over ranks, losses, throughput, progress lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ier_ray.data.streams import JointBatch
from ier_ray.errors import TrainingError
from ier_ray.losses import LossParts
from ier_ray.training.context import ProgressBar, TrainContext

logger = logging.getLogger(__name__)

CHECK_EVERY = 50
"""Batches between two checks of the losses; a check waits for the device and the other ranks."""
LINE_EVERY_S = 60.0
"""Seconds between two progress lines."""


@dataclass
class Sums:
    """Named sums and their counts, added over batches and ranks, then divided once."""

    device: torch.device
    totals: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, total: Tensor, count: int) -> None:
        """Add a sum over ``count`` samples, without waiting for the device."""
        pair = torch.stack([total.detach().double(), total.new_tensor(count).double()])
        held = self.totals.get(name)
        self.totals[name] = pair if held is None else held + pair

    def means(self, names: tuple[str, ...], reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Means over all ranks. ``names`` fixes the order, the same on every rank.

        ``reduce`` adds a tensor over ranks. A rank that saw no sample contributes nothing.
        """
        empty = torch.zeros(2, dtype=torch.float64, device=self.device)
        stacked = torch.stack([self.totals.get(name, empty) for name in names])
        total, count = reduce(stacked).unbind(1)
        return dict(zip(names, (total / count).tolist(), strict=True))


def gathered(own: Sequence[Tensor], context: TrainContext) -> Tensor:
    """The rows ``(N_r, K)`` of all ranks, in the order of the ranks: ``(Σ N_r, K)``.

    Each rank gives its rows in batches; a rank may have none.
    """
    rows = torch.cat(list(own)) if own else torch.zeros(0, 0, device=context.device)
    sizes = torch.zeros(context.world_size, 2, dtype=torch.int64, device=context.device)
    sizes[context.rank, 0], sizes[context.rank, 1] = rows.shape
    sizes = context.sum(sizes)
    start = int(sizes[: context.rank, 0].sum())
    columns = int(sizes[:, 1].max())
    everything = torch.zeros(int(sizes[:, 0].sum()), columns, device=context.device)
    if len(rows):
        everything[start : start + len(rows)] = rows
    return context.sum(everything)


@dataclass
class LossWatch:
    """The losses of a pass: their means, and the first step at which one is not finite.

    Keeps the parts of each batch's loss on the device and checks them every ``CHECK_EVERY``
    batches. It checks the mean over ranks, so that all ranks stop at the same step.
    """

    context: TrainContext
    epoch: int
    """Number of the epoch, from 1, for the message."""
    learning_rate: float
    _waiting: list[tuple[int, Tensor]] = field(default_factory=list)
    _total: Tensor = field(default_factory=lambda: torch.zeros(len(LossParts._fields)).double())
    _seen: int = 0

    def add(self, step: int, parts: Sequence[LossParts]) -> None:
        """Add the losses of a step's batches.

        Raises:
            TrainingError: when a check is due and a loss is not finite.
        """
        self._waiting += [(step, torch.stack(part).detach()) for part in parts]
        if len(self._waiting) >= CHECK_EVERY:
            self._check()

    def means(self) -> dict[str, float]:
        """Mean of each part over all batches and ranks.

        Raises:
            TrainingError: when one is not finite.
        """
        self._check()
        return dict(zip(LossParts._fields, (self._total / self._seen).tolist(), strict=True))

    def _check(self) -> None:
        if not self._waiting:
            return
        stacked = torch.stack([parts for _, parts in self._waiting]).double()
        rows = self.context.sum(stacked).cpu() / self.context.world_size
        broken = (~rows.isfinite()).any(1).nonzero()
        if len(broken):
            first = int(broken[0])
            raise self._error(self._waiting[first][0], LossParts(*rows[first]))
        self._total += rows.sum(0)
        self._seen += len(rows)
        self._waiting = []

    def _error(self, step: int, parts: LossParts) -> TrainingError:
        values = ", ".join(f"{name} {float(value):.4g}" for name, value in parts._asdict().items())
        kept = self.context.last_checkpoint()
        cure = "start again (no epoch ended)"
        if kept:
            cure = f"resume from the last checkpoint, {kept}"
        return TrainingError(
            f"epoch {self.epoch}: the loss is not finite at step {step} ({values}); lower "
            f"optimizer.learning_rate (now {self.learning_rate:g}) or set optimizer.clip_norm, "
            f"and {cure}"
        )


@dataclass
class ThroughputMeter(Iterator[JointBatch]):
    """Iterates over the batches of a pass and counts their images.

    The rate excludes the start of a pass: the wait for the first batch and, if there are more, the
    first batch itself. Its step selects kernels and allocates memory or, with ``torch.compile``,
    compiles the networks.
    """

    batches: Iterator[JointBatch]
    bar: ProgressBar
    images: int = 0
    """Images of both domains since :attr:`started`, on this rank."""
    started: float | None = None
    _taken: int = 0

    def __next__(self) -> JointBatch:
        if self._taken:
            self.bar.update(1)  # the previous batch has been used
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


@dataclass
class LoggedProgress:
    """Progress without a terminal: logs one line per minute of a long pass."""

    label: str
    total: int
    every_s: float = LINE_EVERY_S
    done: int = 0
    _last: float = field(default_factory=time.monotonic)

    def update(self, n: int = 1, /) -> None:
        """Count ``n`` batches, and log a line when one is due."""
        self.done += n
        now = time.monotonic()
        if now - self._last >= self.every_s:
            self._last = now
            logger.info("%s: batch %d of %d", self.label, self.done, self.total)

    def close(self) -> None:
        """Nothing to do: the epoch's own line follows."""
