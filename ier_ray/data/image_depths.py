"""Pictures of more than 8 bits a channel, scaled to 8.

A file says how many bits it stores, but often not how many of them are used: 16-bit files hold
values of 8 or 12 bits, and 32-bit integers and floats hold anything. So gray values are scaled by
their range. The scale is the smallest of 255, 4095 and 65535 (for floats also 1) that holds the
largest value; it becomes 255, and transparent values become white. Pillow reads only the upper 8
bits of colors with 16, which are kept as they are.

A picture is refused when it has negative, infinite or undefined values, or larger ones than 65535,
and when none reaches a sixteenth of the scale: it would be black.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile, _Tile
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from ier_ray.errors import ImageError

SCALES = (255, 4095, 65535)

DARKEST = 1 / 16
"""A picture is black when its largest value is below this share of the scale."""


@dataclass(frozen=True)
class Depth:
    """What a file says about its numbers; known before its pixels are loaded."""

    deep_colors: bool
    """Whether it stores colors of more than 8 bits, of which Pillow reads the upper 8."""
    white_is_zero: bool
    """Whether zero is white, which Pillow takes into account for up to 8 bits only."""

    @classmethod
    def of(cls, image: ImageFile, encoded: bytes) -> Depth:
        """The depth of an image whose header is read."""
        if image.format == "JPEG2000":
            size_marker = encoded.find(b"\xff\x4f\xff\x51")
            deep = encoded[size_marker + 42] & 0x7F > 7  # it holds one less than the bits
        else:
            deep = any(_is_deep(image.format, tile) for tile in image.tile)
        white_is_zero = (
            isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
        )
        return cls(deep, white_is_zero)

    def eight_bits(self, image: Image.Image) -> Image.Image:
        """The image with 8 bits a channel: itself, or gray values scaled to mode ``L``.

        Raises:
            ImageError: with reason ``unsupported_depth`` and the range.
        """
        if image.mode == "F" or image.mode.startswith("I"):
            return self._gray(image)
        if self.deep_colors:
            _check_upper_bits(image)
        return image

    def _gray(self, image: Image.Image) -> Image.Image:
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
        if self.white_is_zero:
            gray = 255 - gray
        if "transparency" in image.info:
            gray[numbers == image.info["transparency"]] = 255
        return Image.fromarray(gray)


def _is_deep(name: str | None, tile: _Tile) -> bool:
    """By what Pillow tells the decoder of a part of the image."""
    if name == "PPM":  # mode and largest value
        return isinstance(tile.args, tuple) and tile.args[-1] > 255
    return ";16" in str(tile.args) or tile.codec_name == "SGI16"


def _check_upper_bits(image: Image.Image) -> None:
    """Refuse upper 8 bits that hold next to nothing: the picture is in the lower ones."""
    highest = int(np.asarray(image).max())
    if highest <= DARKEST * 256:
        raise ImageError(
            "unsupported_depth",
            f"colors of 16 bits, of which none is above {(highest + 1) * 256 - 1} of 65535; "
            f"save the image with 8 bits per color",
        )
