"""Incremental inference of a network's first dense layer.

It reads flattened maps, so its output is a sum over their positions. At positions where a map
equals the background's the terms are equal too, so only changed positions are multiplied. The sums
have many terms and are in double precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ier_ray.explain.incremental.windows import Extents, take


@dataclass(frozen=True)
class Readout:
    """A dense layer on maps that are joined along their channels and flattened.

    Attributes:
        layer: the dense layer.
    """

    layer: nn.Linear
    _weights: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def apply(self, maps: Sequence[Tensor]) -> Tensor:
        """Outputs ``(M, U)`` of whole maps ``(M, C, H, W)``, in double precision."""
        positions = torch.cat(list(maps), 1).flatten(2).permute(2, 0, 1)
        weights = self._by_position(len(positions))
        outputs = positions.new_zeros(positions.shape[1], weights.shape[2], dtype=torch.float64)
        if self.layer.bias is not None:
            outputs += self.layer.bias.detach()
        for pixels, weight in zip(positions, weights, strict=True):
            outputs += pixels @ weight
        return outputs

    def update(
        self,
        known: Tensor,
        before: Mapping[str, Tensor],
        after: Mapping[str, Tensor],
        background: Tensor,
        extents: Mapping[str, Extents],
    ) -> Tensor:
        """Outputs ``(M, U)`` of maps that differ from a background's only inside their extents.

        Args:
            known: ``(B, U)``; outputs for the backgrounds, by :meth:`apply`.
            before: maps of the backgrounds, ``(B, H, W, C)``, in the order they are joined in.
            after: the changed maps, ``(M, H, W, C)``; read inside their extents only.
            background: ``(M,)``; index of each one's background.
            extents: where each of the maps can have changed.
        """
        outputs = known.index_select(0, background)
        positions = next(iter(before.values())).shape[1:3].numel()
        channels = [maps.shape[-1] for maps in after.values()]
        weights = torch.split(self._by_position(positions), channels, 1)
        for (name, maps), weight in zip(after.items(), weights, strict=True):
            # All that is copied to the device or gathered is so at once: calls take time there.
            position, row = np.nonzero(extents[name].covers().T)
            place, rows = (torch.from_numpy(each).to(known.device) for each in (position, row))
            change = take(maps, rows * positions + place)
            change -= take(before[name], background.index_select(0, rows) * positions + place)
            counts = np.bincount(position, minlength=positions).tolist()
            parts = zip(torch.split(rows, counts), torch.split(change, counts), weight, strict=True)
            for changed, difference, layer in parts:
                outputs.index_add_(0, changed, (difference @ layer).double())
        return outputs

    def _by_position(self, positions: int) -> Tensor:
        """The weights as ``(H · W, C, U)``: a copy, made once."""
        if positions not in self._weights:
            weights = self.layer.weight.detach()
            by_channel = weights.view(len(weights), -1, positions)
            self._weights[positions] = by_channel.permute(2, 1, 0).contiguous()
        return self._weights[positions]
