"""The operations that incremental inference supports.

Three kinds suffice for convolutional networks: one slides a kernel over the map, one applies the
same function at every position, and one joins several maps of the same size. All take and return
maps ``(M, C, H, W)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

Corners = NDArray[np.int64]
"""``(M, 2)``: a row and a column of each window."""
Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Slide:
    """A kernel sliding over the map: a convolution or a pooling.

    Attributes:
        apply: the operation on maps that are already padded.
        kernel: extent of the kernel in pixels, holes of its dilation included.
        stride, padding: of the operation, rows then columns.
        fill: what lies beyond the border: 0 for a convolution, −∞ for max-pooling.
        macs: multiply-accumulates for one output pixel.
        weights: numbers in the kernel.
    """

    apply: Callable[[Tensor], Tensor]
    kernel: Size
    stride: Size
    padding: Size
    fill: float = 0.0
    macs: int = 0
    weights: int = 0

    def padded(self, maps: Tensor) -> Tensor:
        """Maps with the operation's padding."""
        rows, columns = self.padding
        if not (rows or columns):
            return maps
        return pad(maps, (columns, columns, rows, rows), value=self.fill)

    def reach(self, start: Corners, stop: Corners, size: Size) -> tuple[Corners, Corners]:
        """Output window that can change when an input window does; ``size`` of the output map.

        A change that no output depends on (in the last row of an odd map before a 2x2 pool) still
        gets a window of one pixel, whose value does not change.
        """
        stride, padding = np.array(self.stride), np.array(self.padding)
        first = -((np.array(self.kernel) - 1 - start - padding) // stride)
        first = np.clip(first, 0, np.array(size) - 1)
        beyond = (stop - 1 + padding) // stride + 1
        return first, np.clip(beyond, first + 1, size)

    def patch(self, start: Corners, size: Size) -> tuple[Corners, Size]:
        """Window of the padded input that an output window is computed from."""
        rows, columns = (
            (length - 1) * step + reach
            for length, step, reach in zip(size, self.stride, self.kernel, strict=True)
        )
        return start * np.array(self.stride), (rows, columns)


@dataclass(frozen=True)
class Pointwise:
    """The same function at every position, in eval mode: an activation, a batch normalization."""

    apply: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Join:
    """A sum or a concatenation of maps of one size."""

    apply: Callable[[Sequence[Tensor]], Tensor]


Operation = Slide | Pointwise | Join


@dataclass(frozen=True)
class Step:
    """One operation of a network: reads the values ``inputs`` and computes the value ``output``."""

    output: str
    inputs: tuple[str, ...]
    operation: Operation
