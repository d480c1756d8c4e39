"""Why an image of a known format could not be decoded."""

from __future__ import annotations

import io
import logging
import re
from typing import Literal

from PIL.ImageFile import MAXBLOCK, SAFEBLOCK, ImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.TiffTags import TAGS_V2

from ier_ray.data.image_formats import opened
from ier_ray.errors import ImageError, SettingsError

_log = logging.getLogger(__name__)

_BLOCKS = {MAXBLOCK, SAFEBLOCK}
"""Sizes that decoders ask for without knowing how much is left."""

_TIFF_TAGS = {tag.name: number for number, tag in TAGS_V2.items()}
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes of a value by the number of its type in a TIFF."""

_JPEG_2000_END = b"\xff\xd9"
_UNSUPPORTED = re.compile(
    "unsupported|unimplemented|unknown|cannot handle|not .*supported", re.IGNORECASE
)
"""Pillow raises the same types for damage and for kinds of files that it does not know."""


def failure(error: Exception, *, name: str, encoded: bytes, image: ImageFile | None) -> ImageError:
    """What a decoder's error means.

    Args:
        error: whatever was raised.
        name: the format.
        encoded: the file, as the decoder got it.
        image: the image, where its header could be read.

    Returns:
        An error with the reason ``truncated`` when the file ends before what it says it holds,
        ``unsupported`` when it is of a kind that is not read, ``too_large`` when memory ran out,
        else ``damaged``.
    """
    if isinstance(error, SettingsError):  # says how to install what is missing
        return ImageError("unsupported", str(error))
    if isinstance(error, MemoryError):
        return ImageError("too_large", f"there is not enough memory to decode the {name} image")
    if _ends_early(encoded, name, image) or _reads_past_end(encoded, name):
        reason = "truncated"
    elif isinstance(error, NotImplementedError) or _UNSUPPORTED.search(str(error)):
        reason = "unsupported"
    else:
        reason = "damaged"
    return ImageError(reason, f"the {name} image cannot be decoded: {error}")


def _ends_early(encoded: bytes, name: str, image: ImageFile | None) -> bool:
    """Whether the file is shorter than it says, for decoders that get it in one piece."""
    if name == "WEBP":
        return int.from_bytes(encoded[4:8], "little") + 8 > len(encoded)
    if name in {"AVIF", "HEIF"}:
        return _boxes_end_early(encoded)
    if name == "JPEG2000":
        return _JPEG_2000_END not in encoded
    if name == "TIFF":
        return _tags_end_early(encoded) or _strips_end_early(image, len(encoded))
    return False


def _boxes_end_early(encoded: bytes) -> bool:
    """Whether the last box of an ISO media file is cut, or the box of the data is missing."""
    at, kinds = 0, set()
    while at + 8 <= len(encoded):
        size = int.from_bytes(encoded[at : at + 4])
        kinds.add(encoded[at + 4 : at + 8])
        if size == 1:  # the size did not fit, and follows
            size = int.from_bytes(encoded[at + 8 : at + 16])
        at = at + max(size, 8) if size else len(encoded)  # 0: to the end of the file
    return at != len(encoded) or b"mdat" not in kinds


def _tags_end_early(encoded: bytes) -> bool:
    """Whether a value lies behind the end of a TIFF: Pillow skips it, and then misses it."""
    order: Literal["little", "big"] = "little" if encoded[:2] == b"II" else "big"

    def number(start: int, size: int) -> int:
        return int.from_bytes(encoded[start : start + size], order)

    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        size = _TYPE_SIZES.get(number(entry + 2, 2), 0) * number(entry + 4, 4)
        if size > 4 and number(entry + 8, 4) + size > len(encoded):
            return True
    return False


def _strips_end_early(image: ImageFile | None, length: int) -> bool:
    if not isinstance(image, TiffImageFile):
        return False
    for start, size in (("StripOffsets", "StripByteCounts"), ("TileOffsets", "TileByteCounts")):
        starts = image.tag_v2.get(_TIFF_TAGS[start], ())
        sizes = image.tag_v2.get(_TIFF_TAGS[size], ())
        if any(at + count > length for at, count in zip(starts, sizes, strict=False)):
            return True
    return False


def _reads_past_end(encoded: bytes, name: str) -> bool:
    """Whether a decoder asks for what lies behind the end; it is run again to see that."""
    watched = _WatchedBytes(encoded)
    try:
        opened(watched, name).load()
    except Exception as error:  # noqa: BLE001 (any error of a decoder, as before)
        _log.debug("the decoder has failed again: %s", error)
    return watched.read_past_end


class _WatchedBytes(io.BytesIO):
    read_past_end = False

    def read(self, size: int | None = -1) -> bytes:
        """Read as ``BytesIO``; a block may be larger than what is left, but must not be empty."""
        data = super().read(size)
        if size and len(data) < size and (not data or size not in _BLOCKS):
            self.read_past_end = True
        return data
