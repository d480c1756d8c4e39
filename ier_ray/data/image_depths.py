"""Pictures of more than 8 bits a channel, scaled to 8.

A file says how many bits it stores, but often not how many of them are used: 16-bit files hold
values of 8 or 12 bits, and 32-bit integers and floats hold anything. So gray values are scaled by
their range. The scale is the smallest of 255, 4095 and 65535 (for floats also 1) that holds the
largest value; it becomes 255. Pillow reads only the upper 8 bits of colors with 16, which are kept
as they are.

A picture is refused when it has negative, infinite or undefined values, or larger ones than 65535,
and when none reaches a sixteenth of the scale: it would be black.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile, _Tile

from ier_ray.errors import ImageError

SCALES = (255, 4095, 65535)

DARKEST = 1 / 16
"""A picture is black when its largest value is below this share of the scale."""


def is_numeric(image: Image.Image) -> bool:
    """Whether Pillow holds gray values of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def gray_of_numbers(image: Image.Image) -> Image.Image:
    """Gray values scaled to 8 bits, mode ``L``; transparent ones become white.

    Raises:
        ImageError: with reason ``unsupported_depth`` and the range.
    """
    numbers: NDArray[Any] = np.asarray(image)
    low, high = float(numbers.min()), float(numbers.max())
    scales = (1, *SCALES) if image.mode == "F" else SCALES
    scale = next((scale for scale in scales if high <= scale), None)
    if scale is None or low < 0 or high < DARKEST * scale:
        raise ImageError(
            "unsupported_depth",
            f"gray values of {low:g} to {high:g}; save the image with values of 0 to 255",
        )
    gray = np.rint(numbers.astype(np.float32) * np.float32(255 / scale)).astype(np.uint8)
    if "transparency" in image.info:
        gray[numbers == image.info["transparency"]] = 255
    return Image.fromarray(gray)


def has_deep_colors(image: ImageFile, encoded: bytes) -> bool:
    """Whether the file stores colors of more than 8 bits; asked before its pixels are loaded."""
    if image.format == "JPEG2000":
        size_marker = encoded.find(b"\xff\x4f\xff\x51")
        return encoded[size_marker + 42] & 0x7F > 7  # one less than the bits
    return any(_is_deep(image.format, tile) for tile in image.tile)


def _is_deep(name: str | None, tile: _Tile) -> bool:
    """By what Pillow tells the decoder of a part of the image."""
    if name == "PPM":  # mode and largest value
        return isinstance(tile.args, tuple) and tile.args[-1] > 255
    return ";16" in str(tile.args) or tile.codec_name == "SGI16"


def check_deep_colors(image: Image.Image) -> None:
    """Refuse upper 8 bits that hold next to nothing: the picture is in the lower ones.

    Raises:
        ImageError: with reason ``unsupported_depth``.
    """
    highest: int = np.asarray(image).max()
    if highest < DARKEST * 255:
        raise ImageError(
            "unsupported_depth",
            f"colors of 16 bits, of which none is above {(highest + 1) * 256 - 1} of 65535; "
            f"save the image with 8 bits per color",
        )
