"""Metadata turn a picture upright, and cannot lose it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.image_files import exif_of, picture, saved, tiff

from ier_ray.data.images import decode_rgb

CASES = Path(__file__).parents[2] / "data"

UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}
"""The pixels as seen, from those stored, by the definition of the tag."""

STORED = np.asarray(picture())

BROKEN = b"II*\0\x08\0\0\0\x02\0" + (
    struct.pack("<HHII", 0x0112, 3, 1, 6)
    + struct.pack("<HHII", 0x011A, 10, 1, 38)  # a rational, -1/0
    + bytes(4)
    + struct.pack("<iI", -1, 0)
)


def pixels(file: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode_rgb(file))


def with_chunk(kind: bytes, data: bytes, *, checksum: int | None = None) -> bytes:
    """The picture as PNG, with a chunk before its pixels."""
    png = saved(picture(), "PNG")
    at = png.index(b"IDAT") - 4
    crc = zlib.crc32(kind + data) if checksum is None else checksum
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
    return png[:at] + chunk + png[at:]


def test_the_orientation_beside_a_broken_tag_is_applied() -> None:
    content = (CASES / "exif_srational.jpg").read_bytes()
    start = content.index(b"\xff\xe1")
    plain = content[:start] + content[start + 2 + int.from_bytes(content[start + 2 : start + 4]) :]
    expected = np.rot90(pixels(plain), -1)
    assert expected.shape == (60, 40, 3)
    np.testing.assert_array_equal(pixels(content), expected)
    assert expected[0, 0].tolist() == [201, 186, 193]
    assert expected[-1, 0].tolist() == [136, 86, 113]


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP", "JPEG2000"])
def test_every_orientation(orientation: int, file_format: str) -> None:
    if file_format == "JPEG2000":  # has no EXIF
        np.testing.assert_array_equal(pixels(saved(picture(), "JPEG2000")), STORED)
        return
    options = {"lossless": True} if file_format == "WEBP" else {}
    file = saved(picture(), file_format, exif=exif_of(orientation), **options)
    turned = UPRIGHT.get(orientation, UPRIGHT[1])(STORED)
    np.testing.assert_array_equal(pixels(file), turned)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_exif_that_cannot_be_written_back(file_format: str) -> None:
    file = saved(picture(), file_format, exif=b"Exif\0\0" + BROKEN)
    plain = pixels(saved(picture(), file_format))
    np.testing.assert_array_equal(pixels(file), np.rot90(plain, -1))


def test_exif_of_an_avif_that_cannot_be_written_back() -> None:
    file = bytearray(saved(picture(), "AVIF", exif=exif_of(6)))
    whole = pixels(bytes(file))
    assert whole.shape == (37, 26, 3)
    at, header = file.index(b"\x01\x1a\0\x05"), file.index(b"MM\0*")
    value = header + int.from_bytes(file[at + 8 : at + 12])
    file[at + 3], file[value : value + 8] = 10, struct.pack(">iI", -1, 0)  # a rational, -1/0
    np.testing.assert_array_equal(pixels(bytes(file)), whole)


def test_tiff_tags_that_cannot_be_written_back() -> None:
    numbers = STORED.copy()
    numbers[0, 0], numbers[0, 1], numbers[0, 2] = 255, (255, 0, 0), 0  # -1/0, as bytes
    file = tiff(numbers, photometric=2, t274=6, t282=0)
    good = struct.pack("<HHIHH", 282, 3, 1, 0, 0)
    assert file.count(good) == 1
    broken = file.replace(good, struct.pack("<HHII", 282, 10, 1, 8))
    np.testing.assert_array_equal(pixels(broken), np.rot90(numbers, -1))


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0\x08\0\0\0\xff\xff",
        b"no header at all",
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 2, 4, 0x41414141),
        b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 0xFFFFFFFF, 6),
    ],
)
def test_exif_that_cannot_be_read_leaves_the_pixels_as_stored(exif: bytes) -> None:
    plain = pixels(saved(picture(), "JPEG"))
    np.testing.assert_array_equal(pixels(saved(picture(), "JPEG", exif=b"Exif\0\0" + exif)), plain)
    np.testing.assert_array_equal(pixels(with_chunk(b"eXIf", exif)), STORED)


BOMB = zlib.compress(bytes(100 * 2**20), 9)
PROFILE = b"\nexif\n  60\n" + exif_of(6).tobytes().hex().encode() + b"\n"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"zTXt", b"Comment\0\0" + BOMB),
        (b"zTXt", b"Raw profile type exif\0\0" + BOMB),
        (b"zTXt", b"Raw profile type exif\0\0no zlib"),
        (b"zTXt", b"Raw profile type exif\0\7"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + bytes(2**21)),
        (b"tEXt", b"Comment\0" + b"x" * 70 * 2**20),
        (b"iCCP", b"profile\0\0" + BOMB),
        (b"iCCP", b"profile\0\7"),
        (b"cHRM", b"short"),
        (b"gAMA", b""),
        (b"acTL", b"x"),
        (b"fcTL", bytes(26)),
    ],
)
def test_metadata_of_a_png_cannot_lose_its_picture(kind: bytes, data: bytes) -> None:
    np.testing.assert_array_equal(pixels(with_chunk(kind, data)), STORED)


def test_three_mebibytes_of_text() -> None:
    found = pixels((CASES / "png_3MiB_text.png").read_bytes())
    assert found.shape == (40, 60, 3)
    assert [found[at].tolist() for at in ((0, 0), (20, 30), (-1, -1))] == [
        [95, 130, 194],
        [28, 14, 80],
        [241, 18, 197],
    ]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"eXIf", exif_of(6).tobytes()[6:]),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE)),
        (b"tEXt", b"Raw profile type exif\0" + PROFILE),
        (b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'),
    ],
)
def test_all_ways_to_store_the_orientation_in_a_png(kind: bytes, data: bytes) -> None:
    np.testing.assert_array_equal(pixels(with_chunk(kind, data)), np.rot90(STORED, -1))
    np.testing.assert_array_equal(pixels(with_chunk(kind, data, checksum=0)), STORED)


def test_a_broken_list_of_further_pictures_is_not_read() -> None:
    jpeg = saved(picture(), "MPO", save_all=True, append_images=[picture().rotate(180)])
    at = jpeg.index(b"MPF\0") + 4
    for broken in (b"XX", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"):
        changed = jpeg[:at] + broken + jpeg[at + len(broken) :]
        np.testing.assert_array_equal(pixels(changed), pixels(saved(picture(), "JPEG")))


def test_an_animation_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (3, 3), color) for color in ("red", "blue")]
    for file_format in ("PNG", "GIF", "WEBP", "AVIF", "TIFF"):
        file = saved(frames[0], file_format, save_all=True, append_images=frames[1:])
        red, _, blue = pixels(file)[1, 1].astype(int)
        assert red > 240
        assert blue < 10
