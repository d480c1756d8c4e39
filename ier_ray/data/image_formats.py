"""Which formats of image files are read: their signatures and their decoders.

Only formats that store one grid of pixels are read. Pillow knows more: formats that start another
program (EPS runs Ghostscript), drawings (WMF), video (MPEG, FLI), documents of an editor (PSD),
icons, whose parts have sizes of their own (ICO, ICNS, CUR), and formats without a signature (XBM is
C source). Untrusted bytes never reach those decoders.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.DdsImagePlugin import DdsImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PcxImagePlugin import PcxImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.QoiImagePlugin import QoiImageFile
from PIL.SgiImagePlugin import SgiImageFile
from PIL.SunImagePlugin import SunImageFile
from PIL.TgaImagePlugin import TgaImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ier_ray.extras import optional_library

HEAD_BYTES = 64
"""How many bytes from the beginning of a file :func:`recognized_format` needs at most."""

HEIF = "HEIF"
"""The format of HEIC and HEIF files, which an optional plug-in reads."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")
_JPEG_2000 = (b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a")
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF_BRANDS |= {b"mif1", b"msf1", b"mif2"}


def recognized_format(head: bytes) -> str | None:
    """The format of an image file by its first bytes; None if it is none that can be read.

    Args:
        head: the first :data:`HEAD_BYTES` of the file, or more; all of a shorter file.

    Returns:
        Pillow's name of the format, as ``JPEG``, or :data:`HEIF`.
    """
    for name, known in _FORMATS.items():
        if known.matches(head):
            return name
    return None


def opened(stream: io.BytesIO, name: str) -> ImageFile:
    """An image in a format of :data:`READ_FORMATS`: its header is read, its pixels are not yet.

    The decoder's class is called instead of ``Image.open``, which hides the decoder's own error,
    and fails when a JPEG's list of further pictures is broken.

    Raises:
        SettingsError: when the library that reads it is not installed.
        Exception: whatever Pillow raises on bytes that it cannot read.
    """
    _silence_pillow()
    return _FORMATS[name].open(stream)


@cache
def _silence_pillow() -> None:
    """Once per process: what Pillow says about tags is not about the picture, and never ends."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)


def canvas_of_webp(head: bytes) -> tuple[int, int]:
    """Width and height by the header of a WebP file, whose decoder allocates them when it opens."""
    if head[12:16] == b"VP8X":
        width, height = head[24:27], head[27:30]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = head[26:28], head[28:30]
    return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _brands(head: bytes) -> list[bytes]:
    """The brands of an ISO media file, the major one first."""
    if head[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(head[:4]), HEAD_BYTES)
    return [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]


def _is_avif(head: bytes) -> bool:
    return not _AVIF_BRANDS.isdisjoint(_brands(head))


def _is_heif(head: bytes) -> bool:
    return not _HEIF_BRANDS.isdisjoint(_brands(head))


def _is_bmp(head: bytes) -> bool:
    """The two letters alone also begin texts, so the size of the second header counts too."""
    return head[:2] == b"BM" and head[14:18] in {
        size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)
    }


def _is_ppm(head: bytes) -> bool:
    return head[:2] in _PPM and head[2:3] in {b" ", b"\t", b"\r", b"\n", b"#"}


_PPM = {b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf"}


def _is_pcx(head: bytes) -> bool:
    return (
        len(head) > 3
        and head[0] == 10
        and head[1] in {0, 2, 3, 5}
        and head[2] in {0, 1}
        and head[3] in {1, 2, 4, 8}
    )


def _is_sgi(head: bytes) -> bool:
    return (
        head[:2] == b"\x01\xda"
        and head[2:3] in {b"\0", b"\1"}
        and head[3:4] in {b"\1", b"\2"}
        and head[4:6] in {b"\0\1", b"\0\2", b"\0\3"}
    )


def _is_tga(head: bytes) -> bool:
    """Targa has no signature: every field of its header must make sense."""
    if len(head) < 18:
        return False
    has_palette, kind, palette, depth, flags = head[1], head[2], head[3:8], head[16], head[17]
    return (
        has_palette in {0, 1}
        and kind in {1, 2, 3, 9, 10, 11}
        and (palette[4] in {15, 16, 24, 32} if has_palette else not any(palette))
        and any(head[12:14])
        and any(head[14:16])
        and depth in {8, 16, 24, 32}
        and flags < 64
    )


def _open_heif(stream: io.BytesIO) -> ImageFile:
    library = optional_library("pillow_heif", extra="heif", use="HEIC images need")
    image: ImageFile = library.HeifImageFile(stream)
    return image


@dataclass(frozen=True)
class _Format:
    matches: Callable[[bytes], bool]
    open: Callable[[io.BytesIO], ImageFile]


_FORMATS = {
    "JPEG": _Format(_starts(b"\xff\xd8\xff"), JpegImageFile),
    "PNG": _Format(_starts(b"\x89PNG\r\n\x1a\n"), PngImageFile),
    "WEBP": _Format(_is_webp, WebPImageFile),
    "GIF": _Format(_starts(b"GIF87a", b"GIF89a"), GifImageFile),
    "BMP": _Format(_is_bmp, BmpImageFile),
    "TIFF": _Format(_starts(*_TIFF), TiffImageFile),
    "AVIF": _Format(_is_avif, AvifImageFile),
    HEIF: _Format(_is_heif, _open_heif),
    "JPEG2000": _Format(_starts(*_JPEG_2000), Jpeg2KImageFile),
    "PPM": _Format(_is_ppm, PpmImageFile),
    "DDS": _Format(_starts(b"DDS "), DdsImageFile),
    "QOI": _Format(_starts(b"qoif"), QoiImageFile),
    "SUN": _Format(_starts(b"\x59\xa6\x6a\x95"), SunImageFile),
    "SGI": _Format(_is_sgi, SgiImageFile),
    "PCX": _Format(_is_pcx, PcxImageFile),
    "TGA": _Format(_is_tga, TgaImageFile),
}

READ_FORMATS = tuple(_FORMATS)
"""The formats that are read, the most frequent first; Targa, which has no signature, last."""
