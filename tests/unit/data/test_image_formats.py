"""Recognizing image files by their first bytes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from ier_ray.data.image_formats import HEAD_BYTES, HEIF, READ_FORMATS, recognized_format
from ier_ray.data.images import declared_pixels


def saved(mode: str, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (20, 12)).save(buffer, format=file_format, **options)
    return buffer.getvalue()


WRITTEN = {
    "JPEG": [saved("RGB", "JPEG"), saved("L", "MPO"), saved("CMYK", "JPEG")],
    "PNG": [saved("RGB", "PNG"), saved("I;16", "PNG")],
    "WEBP": [saved("RGB", "WEBP"), saved("RGBA", "WEBP", lossless=True)],
    "GIF": [saved("P", "GIF")],
    "BMP": [saved("RGB", "BMP"), saved("1", "BMP")],
    "TIFF": [saved("F", "TIFF"), saved("RGB", "TIFF", big_tiff=True), b"MM\0*\0\0\0\x08"],
    "AVIF": [saved("RGB", "AVIF"), b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"],
    "HEIF": [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypheix\0\0\0\0mif1heix",
    ],
    "JPEG2000": [saved("RGB", "JPEG2000"), saved("RGB", "JPEG2000", no_jp2=True)],
    "PPM": [saved(mode, "PPM") for mode in ("1", "L", "RGB", "F", "I")] + [b"P2\n# x\n1 1\n9\n5"],
    "DDS": [saved("RGB", "DDS")],
    "QOI": [saved("RGB", "QOI")],
    "SUN": [b"\x59\xa6\x6a\x95" + bytes(28)],
    "SGI": [saved("RGB", "SGI"), saved("L", "SGI")],
    "PCX": [saved("L", "PCX"), saved("RGB", "PCX"), saved("1", "PCX")],
    "TGA": [saved("RGB", "TGA"), saved("P", "TGA"), saved("L", "TGA", compression="tga_rle")],
}


@pytest.mark.parametrize("name", READ_FORMATS)
def test_files_of_every_format_are_recognized_by_their_head(name: str) -> None:
    for file in WRITTEN[name]:
        assert recognized_format(file[:HEAD_BYTES]) == name
        assert recognized_format(file) == name


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"<!DOCTYPE html><title>404</title>",
        b"BMI of 300 people\n1,2,3",
        b"P5.js is a library\n",
        b"PARIS, 1889",
        b"\n\x05plain text",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"%PDF-1.7\n",
        b"PK\x03\x04",
        b"#define face_width 16\n",
        b"\xd7\xcd\xc6\x9a\0\0",
        b"8BPS\0\x01" + bytes(30),
        b"\0\0\x01\xb3" + bytes(30),
        b"\0\x01\0\0\0\x0f\0\x80\0\x03\0\x70DSIG\0\0\0\x01",
        bytes(64),
        saved("RGB", "ICO"),
        b"\0\0\2\0\1\0\x20\x20\0\0\0\0\0\0\x30\1\0\0\x16\0\0\0",
    ],
)
def test_other_files_are_not_images(content: bytes) -> None:
    assert recognized_format(content) is None


@pytest.mark.parametrize("name", [name for name in READ_FORMATS if name not in {HEIF, "SUN"}])
def test_the_header_announces_the_pixels(name: str) -> None:
    encoded = WRITTEN[name][0]
    assert declared_pixels(encoded) == 20 * 12
    assert declared_pixels(encoded[:8]) in {0, 20 * 12}  # P4 has it in as many bytes
