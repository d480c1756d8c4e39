"""What is read of an image's metadata: its orientation. The rest cannot lose a picture."""

from __future__ import annotations

import logging
import zlib

from PIL import Image
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

_log = logging.getLogger(__name__)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_EXIF_HEADERS = (b"MM\0*\0\0\0\x08", b"II*\0\x08\0\0\0")

_MAX_TEXT = 1 << 20
"""Largest text of a PNG that is looked at for its orientation, in bytes, inflated."""


def upright(image: ImageFile) -> Image.Image:
    """The pixels as they are to be seen; nothing is written back to the metadata.

    Metadata that cannot be read, or an orientation other than 1 to 8, leaves the pixels as they
    are stored.
    """
    orientation: object
    if isinstance(image, TiffImageFile):
        orientation = image.tag_v2.get(Base.Orientation)
        _hide_tags(image)
        image.load()
    else:
        image.load()
        orientation = _orientation(image)
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _orientation(image: ImageFile) -> object:
    try:
        return image.getexif().get(Base.Orientation)
    except Exception as error:  # noqa: BLE001 (Pillow raises many types on broken EXIF)
        _log.debug("an EXIF block cannot be read, so the pixels stay as stored: %s", error)
        return None


def _hide_tags(image: TiffImageFile) -> None:
    """Keep ``TiffImageFile.load`` from writing the tags back, which broken ones do not survive."""
    tags = image.getexif()
    for tag in list(tags):
        del tags[tag]


def avif_without_exif(encoded: bytes) -> bytes:
    """An AVIF whose EXIF block counts no tags; its orientation is in the container.

    Pillow writes the tags back when the picture is to be turned, which broken ones do not survive.
    """
    for header in _EXIF_HEADERS:
        at = encoded.find(header)
        if at >= 0:
            count = at + len(header)
            encoded = encoded[:count] + b"\0\0" + encoded[count + 2 :]
    return encoded


def png_without_metadata(encoded: bytes) -> bytes:
    """A PNG with only the chunks that its first picture and its orientation come from.

    Pillow refuses a picture with more than 1 MiB of text, and one whose metadata is broken.
    """
    kept, at = [encoded[:8]], 8
    while at < len(encoded):
        length = int.from_bytes(encoded[at : at + 4])
        chunk = encoded[at : at + 12 + length]
        if _is_critical(chunk) or (_is_whole(chunk) and _may_orient(chunk)):
            kept.append(chunk)
        at += len(chunk) if chunk[4:8] != b"IEND" else len(encoded)
    return b"".join(kept)


def _is_critical(chunk: bytes) -> bool:
    """Whether the picture depends on it: a capital first letter, transparency, or a cut chunk."""
    return not chunk[4:5].islower() or chunk[4:8] == b"tRNS"


def _is_whole(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _may_orient(chunk: bytes) -> bool:
    kind, data = chunk[4:8], chunk[8:-4]
    if kind == b"zTXt" and data.startswith(b"Raw profile type exif\0\0"):
        inflate = zlib.decompressobj()
        try:
            inflate.decompress(data[23:], _MAX_TEXT)
        except zlib.error:
            return False
        return not inflate.unconsumed_tail
    texts = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0\0")  # the last 0: uncompressed
    return kind == b"eXIf" or (
        kind in {b"tEXt", b"iTXt"} and data.startswith(texts) and len(data) < _MAX_TEXT
    )


WITHOUT_METADATA = {"AVIF": avif_without_exif, "PNG": png_without_metadata}
"""By format: what is taken out of a file before it is decoded."""
