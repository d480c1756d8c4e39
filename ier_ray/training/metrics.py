"""Sums and counts, added over batches and ranks and divided once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Sums:
    """Named sums with their counts."""

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
