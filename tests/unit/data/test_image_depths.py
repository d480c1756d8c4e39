"""Pictures of all depths and color models: the values by hand, or a refusal with the range."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.image_files import picture, saved, tiff

from ier_ray.data.image_depths import Depth
from ier_ray.data.image_formats import opened
from ier_ray.data.images import decode_mask, decode_rgb
from ier_ray.errors import ImageError

Numbers = NDArray[Any]


def decoded(file: bytes) -> list[int]:
    """The first row of a picture, which must be gray."""
    row = np.asarray(decode_rgb(file))[0]
    assert (row == row[:, :1]).all()
    return [int(value) for value in row[:, 0]]


def pgm(row: list[int], largest: int) -> bytes:
    kind = ">u2" if largest > 255 else "u1"
    return f"P5 {len(row)} 1 {largest}\n".encode() + np.array(row, kind).tobytes()


def ppm(row: Numbers, largest: int) -> bytes:
    return f"P6 {row.shape[1]} 1 {largest}\n".encode() + row.astype(">u2").tobytes()


def png(pixels: Numbers, color_type: int, *, transparent: bytes = b"") -> bytes:
    """A PNG of 16 bits."""
    header = struct.pack(">IIBBBBB", pixels.shape[1], len(pixels), 16, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(rows))]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*parts, (b"IEND", b"")]
        if data or kind == b"IEND"
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def saved_deep(row: list[int], file_format: str) -> bytes:
    return saved(Image.fromarray(np.array([row], np.uint16)), file_format)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0, 257, 32768, 65535], [0, 1, 128, 255]),  # 16 bits: divided by 257
        ([0, 129, 128, 4096], [0, 1, 0, 16]),
        ([0, 16, 2048, 4095], [0, 1, 128, 255]),  # 12 bits
        ([0, 256], [0, 16]),
        ([0, 1, 128, 255], [0, 1, 128, 255]),  # 8 bits
        ([0, 16], [0, 16]),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "big-endian TIFF", "JPEG2000", "32 bits", "F"])
def test_gray_values_are_scaled_by_their_range(
    row: list[int], expected: list[int], form: str
) -> None:
    if form == "32 bits":
        file = tiff(np.array([row], "<i4"))
    elif form == "F":
        file = tiff(np.array([row], "<f4"))
    elif form == "big-endian TIFF":
        buffer = io.BytesIO()
        image = Image.frombytes("I;16B", (len(row), 1), np.array(row, ">u2").tobytes())
        image.save(buffer, "TIFF")
        file = buffer.getvalue()
    elif form == "JPEG2000":
        square = np.tile(np.array(row, np.uint16), (8, 1))
        file = saved(Image.fromarray(square), "JPEG2000", irreversible=False)
    else:
        file = saved_deep(row, form)
    assert decoded(file) == expected


def test_declared_largest_values_are_the_scale() -> None:
    assert decoded(pgm([0, 512, 1023], 1023)) == [0, 128, 255]
    assert decoded(pgm([0, 2, 4], 4)) == [0, 128, 255]
    assert decoded(b"P2 3 1 65535\n0 32768 65535\n") == [0, 128, 255]


def test_floats_from_zero_to_one() -> None:
    assert decoded(tiff(np.array([[0, 0.25, 0.5, 1]], "<f4"))) == [0, 64, 128, 255]
    assert decoded(tiff(np.array([[0, 0.1]], "<f4"))) == [0, 26]


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        (np.array([[0, 15]], "<u2"), "0 to 15"),
        (np.array([[0, 0]], "<u2"), "0 to 0"),
        (np.array([[-1, 200]], "<i2"), "-1 to 200"),
        (np.array([[0, 65536]], "<i4"), "0 to 65536"),
        (np.array([[0, 2**31]], "<u4"), "-2.14748e\\+09 to 0"),
        (np.array([[-1, 1]], "<f4"), "-1 to 1"),
        (np.array([[0, 1.01]], "<f4"), "0 to 1.01"),
        (np.array([[0, 0.05]], "<f4"), "0 to 0.05"),
        (np.array([[0, np.nan, 1]], "<f4"), "nan to nan"),
        (np.array([[0, np.inf]], "<f4"), "0 to inf"),
        (np.array([[-np.inf, 1]], "<f4"), "-inf to 1"),
        (np.array([[0, 1e9]], "<f4"), "0 to 1e\\+09"),
    ],
)
def test_values_without_a_clear_scale_are_refused(numbers: Numbers, shown: str) -> None:
    with pytest.raises(ImageError, match=f"gray values of {shown}; save the image") as caught:
        decode_rgb(tiff(numbers))
    assert caught.value.reason == "unsupported_depth"
    with pytest.raises(ImageError, match="gray values of"):
        decode_mask(tiff(numbers), 2)


@pytest.mark.parametrize("kind", ["<u2", "<f4"])
def test_zero_may_be_white(kind: str) -> None:
    numbers = np.array([[0, 32768, 65535]], kind)
    assert decoded(tiff(numbers, photometric=0)) == [255, 127, 0]
    assert decoded(tiff(np.array([[0, 200]], np.uint8), photometric=0)) == [255, 55]


def test_transparent_numbers_are_white() -> None:
    assert decoded(png(np.array([[0, 7000, 65535]]), 0, transparent=b"\0\0")) == [255, 27, 255]


def deep_colors(file: str, colors: Numbers) -> bytes:
    if file == "TIFF":
        return tiff(colors.astype("<u2"), photometric=2)
    if file == "TIFF of CMYK":
        black = np.zeros((*colors.shape[:2], 1), "<u2")
        return tiff(np.concatenate([colors, black], 2).astype("<u2"), photometric=5)
    if file == "PPM":
        return ppm(colors, 65535)
    if file == "PNG with alpha":
        alpha = np.full((*colors.shape[:2], 1), colors.max())
        return png(np.concatenate([colors, alpha], 2), 6)
    if file == "SGI":
        header = struct.pack(">hBBHHHH", 474, 0, 2, 3, colors.shape[1], colors.shape[0], 3)
        planes = colors[::-1].transpose(2, 0, 1).astype(">u2")
        return header + bytes(512 - len(header)) + planes.tobytes()
    return png(colors, 2)


DEEP = ("PNG", "PNG with alpha", "TIFF", "TIFF of CMYK", "PPM", "SGI")


@pytest.mark.parametrize("file", DEEP)
def test_colors_of_sixteen_bits_keep_the_upper_eight(file: str) -> None:
    colors = np.array([[[0, 0x80FF, 0xFFFF], [0x1000, 0x2000, 0xFFFF]]])
    upper = np.array([[0, 128, 255], [16, 32, 255]])
    expected = 255 - upper if file == "TIFF of CMYK" else upper
    found = np.asarray(decode_rgb(deep_colors(file, colors)))[0].astype(int)
    assert np.abs(found - expected).max() <= (1 if file == "PPM" else 0)  # which is rounded


@pytest.mark.parametrize("file", DEEP)
def test_colors_in_the_lower_bits_are_refused(file: str) -> None:
    colors = np.array([[[0, 200, 255], [4095, 9, 0]]])
    with pytest.raises(ImageError, match=r"colors of 16 bits, .* of 65535; save") as caught:
        decode_rgb(deep_colors(file, colors))
    assert caught.value.reason == "unsupported_depth"


def test_a_jpeg_2000_says_how_many_bits_it_stores() -> None:
    file = bytearray(saved(picture(), "JPEG2000"))
    components = file.index(b"\xff\x4f\xff\x51") + 42
    for bits, deep in ((8, False), (9, True), (16, True)):
        file[components : components + 9 : 3] = bytes([bits - 1] * 3)
        image = opened(io.BytesIO(file), "JPEG2000")
        assert Depth.of(image, bytes(file)).deep_colors is deep


@pytest.mark.parametrize(
    ("extra", "expected"),
    [(0, 50), (1, 50 + 127), (2, round(50 * 128 / 255) + 127)],  # ignored, premultiplied, straight
)
def test_gray_with_alpha(extra: int, expected: int) -> None:
    pixels = np.full((2, 2, 2), (50, 128), np.uint8)
    assert decoded(tiff(pixels, t338=extra))[0] == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "P"]
)
def test_every_color_model_keeps_its_picture(mode: str) -> None:
    flat = Image.new("RGB", (16, 8), (255, 255, 255))
    flat.paste((200, 30, 60), (0, 0, 8, 8))
    palette = flat.quantize(4)
    stored = {"P": palette, "PA": palette.convert("PA")}.get(mode) or flat.convert(mode)
    found = decode_rgb(saved(stored, "TIFF"))
    left, right = found.getpixel((3, 3)), found.getpixel((12, 3))
    gray = flat.convert("L").getpixel((3, 3))
    expected = {"1": None, "L": (gray,) * 3, "LA": (gray,) * 3}.get(mode, (200, 30, 60))
    assert right == pytest.approx((255, 255, 255), abs=2)
    if expected is not None:
        assert left == pytest.approx(expected, abs=2)


def test_bilevel_pictures_are_black_and_white() -> None:
    checks = np.indices((8, 8)).sum(0) % 2 == 0
    for file_format, options in (
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "group4"}),
        ("PPM", {}),
        ("BMP", {}),
        ("PCX", {}),
    ):
        pixels = np.asarray(decode_rgb(saved(Image.fromarray(checks), file_format, **options)))
        np.testing.assert_array_equal(pixels[:, :, 0], checks * 255)


def test_palettes_with_partial_transparency() -> None:
    image = picture().quantize(4)
    image.putpalette([0, 0, 0] * 4)
    file = saved(image, "PNG", transparency=bytes([0, 51, 255, 255]))
    assert set(np.unique(np.asarray(decode_rgb(file)))) == {0, 204, 255}
