"""Label Studio's run-length encoding of brush masks.

A stream of bits, the highest of each byte first: the number of values (32 bits), the size of a
value less 1 (5 bits), four sizes of run lengths less 1 (4 bits each); then runs: one bit that says
whether all values of the run are equal, two bits that choose one of the four sizes, the run's
length less 1, and its only value or all of its values. The values are those of an RGBA image in
rows; the mask is its alpha.

Source: the encoder of Label Studio's editor, package ``@thi.ng/rle-pack``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ier_ray.errors import DataError

CHANNELS = 4
OPAQUE = 128
"""Smallest alpha of a marked pixel."""
SMALLEST_STREAM = 7
"""Bytes of the header."""


class _Bits:
    """Reads unsigned numbers from bytes, bit by bit."""

    def __init__(self, content: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(content, dtype=np.uint8))
        self._next = 0

    def read(self, size: int) -> int:
        """The next ``size`` bits as a number."""
        return int(self.read_many(1, size)[0])

    def read_many(self, count: int, size: int) -> NDArray[np.int64]:
        """The next ``count`` numbers of ``size`` bits."""
        end = self._next + count * size
        if end > len(self._bits):
            raise DataError("the brush mask ends early")
        bits = self._bits[self._next : end].reshape(count, size).astype(np.int64)
        self._next = end
        numbers: NDArray[np.int64] = bits @ (1 << np.arange(size - 1, -1, -1, dtype=np.int64))
        return numbers


def decode_brush(encoded: list[int], *, height: int, width: int) -> NDArray[np.bool_]:
    """The mask ``(height, width)`` of a brush region.

    Args:
        encoded: the list ``rle`` of the region's value.

    Raises:
        DataError: when it is no such mask, or is of an image of another size.
    """
    if len(encoded) < SMALLEST_STREAM or min(encoded) < 0 or max(encoded) > 255:
        raise DataError("the brush mask is not a list of bytes")
    bits = _Bits(bytes(encoded))
    count = bits.read(32)
    if count != CHANNELS * height * width:
        raise DataError(
            f"the brush mask has {count} values, but an image of {width}x{height} pixels has "
            f"{CHANNELS * height * width}"
        )
    value_size = bits.read(5) + 1
    length_sizes = (bits.read_many(4, 4) + 1).tolist()
    values = np.empty(count, dtype=np.int64)
    filled = 0
    while filled < count:
        is_run = bits.read(1)
        length = bits.read(length_sizes[bits.read(2)]) + 1
        if filled + length > count:
            raise DataError("the brush mask has more values than it announces")
        values[filled : filled + length] = bits.read_many(1 if is_run else length, value_size)
        filled += length
    alpha: NDArray[np.bool_] = values.reshape(height, width, CHANNELS)[..., -1] >= OPAQUE
    return alpha
