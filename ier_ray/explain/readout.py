"""The first dense layer of a network, of which masking changes a part as well.

It reads flattened maps, so its output is a sum over their positions. Where a map equals the
background's, so does its term: only the positions that changed are multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ier_ray.explain.windows import Extents, take


@dataclass(frozen=True)
class Readout:
    """A dense layer over maps that are joined along their channels and flattened.

    Attributes:
        layer: the dense layer.
    """

    layer: nn.Linear
    _weights: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def apply(self, maps: Sequence[Tensor]) -> Tensor:
        """Outputs ``(M, U)`` of whole maps ``(M, C, H, W)``."""
        outputs: Tensor = self.layer(torch.cat(list(maps), 1).flatten(1))
        return outputs

    def update(
        self,
        known: Tensor,
        before: Mapping[str, Tensor],
        after: Mapping[str, Tensor],
        background: Tensor,
        extents: Mapping[str, Extents],
    ) -> Tensor:
        """Outputs ``(M, U)`` of maps that differ from a background's inside their extents alone.

        Args:
            known: ``(B, U)``; outputs of the backgrounds.
            before: maps of the backgrounds, ``(B, H, W, C)``, in the order they are joined in.
            after: the changed maps, ``(M, H, W, C)``; read inside their extents only.
            background: ``(M,)``; the background of each.
            extents: what can have changed.
        """
        precise = torch.promote_types(known.dtype, torch.float32)  # terms are many and small
        outputs = known.to(precise).index_select(0, background)
        positions = next(iter(before.values())).shape[1:3].numel()
        channels = [maps.shape[-1] for maps in after.values()]
        weights = torch.split(self._by_position(positions), channels, 1)
        for (name, maps), weight in zip(after.items(), weights, strict=True):
            changed = extents[name].covers()
            for position in np.flatnonzero(changed.any(0)).tolist():
                rows = torch.from_numpy(np.flatnonzero(changed[:, position])).to(known.device)
                origins = background.index_select(0, rows)
                change = take(maps, rows * positions + position)
                change -= take(before[name], origins * positions + position)
                outputs.index_add_(0, rows, (change @ weight[position]).to(precise))
        return outputs.to(known.dtype)

    def _by_position(self, positions: int) -> Tensor:
        """The weights as ``(H · W, C, U)``: a copy, made once."""
        if positions not in self._weights:
            weights = self.layer.weight.detach()
            by_channel = weights.view(len(weights), -1, positions)
            self._weights[positions] = by_channel.permute(2, 1, 0).contiguous()
        return self._weights[positions]
