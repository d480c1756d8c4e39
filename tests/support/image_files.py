"""Small valid image files of every format that is read, in many variants."""

from __future__ import annotations

import importlib.util
import io
import struct
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 37, 26


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def tiff(pixels: NDArray[np.generic], *, photometric: int = 1, **tags: int) -> bytes:
    """An uncompressed little-endian TIFF of ``(H, W)`` or ``(H, W, C)`` numbers of any type.

    Args:
        tags: further or other tags of type SHORT, as ``t274=6``.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    sample_format = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    data = pixels.tobytes()
    bits = struct.pack(f"<{channels}H", *[8 * pixels.itemsize] * channels)
    entries = {
        256: width,
        257: height,
        258: 8 * pixels.itemsize,
        259: 1,
        262: photometric,
        273: 8,
        277: channels,
        278: height,
        279: len(data),
        339: sample_format,
    }
    entries |= {int(name[1:]): value for name, value in tags.items()}
    after = 8 + len(data)
    out = b"II*\0" + struct.pack("<I", after + len(bits)) + data + bits
    out += struct.pack("<H", len(entries))
    for tag, value in sorted(entries.items()):
        if tag == 258 and channels > 2:
            out += struct.pack("<HHII", tag, 3, channels, after)
        elif tag in {273, 279}:
            out += struct.pack("<HHII", tag, 4, 1, value)
        elif tag == 258 and channels == 2:
            out += struct.pack("<HHIHH", tag, 3, 2, value, value)
        else:
            out += struct.pack("<HHIHH", tag, 3, 1, value, 0)
    return out + bytes(4)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A maker"
    exif[0x011A] = 72.0
    return exif


def variants() -> dict[str, list[bytes]]:
    """Files by format: at least one of each, and those features that have code of their own."""
    color = picture()
    gray, alpha, palette = color.convert("L"), color.convert("RGBA"), color.quantize(16)
    alpha.putalpha(gray)
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    numbers = np.asarray(gray)
    exif, icc = exif_of(6), bytes(range(256)) * 4
    files: dict[str, list[bytes]] = defaultdict(list)
    files["JPEG"] = [
        saved(color, "JPEG"),
        saved(gray, "JPEG"),
        saved(color, "JPEG", progressive=True, exif=exif, icc_profile=icc, comment="x"),
        saved(color.convert("CMYK"), "JPEG"),
        saved(color, "MPO", save_all=True, append_images=[color.rotate(180)]),
    ]
    files["PNG"] = [
        *(saved(image, "PNG") for image in (color, gray, alpha, deep, gray.convert("1"))),
        saved(alpha.convert("LA"), "PNG", exif=exif, icc_profile=icc),
        saved(palette, "PNG", transparency=3),
        saved(color, "PNG", save_all=True, append_images=[color.rotate(180)]),
    ]
    files["WEBP"] = [
        saved(color, "WEBP"),
        saved(alpha, "WEBP", lossless=True),
        saved(color, "WEBP", exif=exif, icc_profile=icc),
        saved(color, "WEBP", save_all=True, append_images=[color.rotate(180)]),
    ]
    files["GIF"] = [
        saved(palette, "GIF"),
        saved(palette, "GIF", transparency=2, comment=b"x" * 300),
        saved(palette, "GIF", save_all=True, append_images=[color.rotate(180)]),
    ]
    files["BMP"] = [saved(image, "BMP") for image in (color, gray, alpha, palette)]
    files["TIFF"] = [
        *(
            saved(color, "TIFF", compression=compression)
            for compression in ("raw", "tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate")
        ),
        *(saved(image, "TIFF") for image in (deep, alpha, palette, color.convert("LAB"))),
        saved(gray.convert("F"), "TIFF", exif=exif),
        saved(gray.convert("1"), "TIFF", compression="group4"),
        saved(color, "TIFF", big_tiff=True),
        tiff(numbers.astype(np.int32)),
        tiff(np.asarray(color).astype("<u2") * 257, photometric=2),
    ]
    files["AVIF"] = [
        saved(color, "AVIF"),
        saved(alpha, "AVIF", exif=exif, icc_profile=icc),
        saved(color, "AVIF", save_all=True, append_images=[color.rotate(180)]),
    ]
    files["JPEG2000"] = [
        saved(color, "JPEG2000"),
        saved(deep, "JPEG2000"),
        saved(alpha, "JPEG2000", no_jp2=True),
    ]
    files["PPM"] = [saved(image, "PPM") for image in (color, gray, gray.convert("1"), deep)]
    files["PPM"] += [
        saved(gray.convert("F"), "PPM"),
        f"P2\n# plain\n{WIDTH} {HEIGHT} 255\n".encode()
        + " ".join(map(str, numbers.ravel())).encode(),
    ]
    files["DDS"] = [
        saved(alpha, "DDS"),
        *(saved(alpha, "DDS", pixel_format=kind) for kind in ("DXT1", "DXT5", "BC2")),
        saved(color, "DDS", pixel_format="BC5"),
    ]
    files["QOI"] = [saved(color, "QOI"), saved(alpha, "QOI")]
    files["SUN"] = [sun_raster(np.asarray(color.crop((0, 0, 36, HEIGHT))))]
    files["SGI"] = [saved(color, "SGI"), saved(gray, "SGI"), saved(color, "SGI", bpc=2)]
    files["PCX"] = [saved(image, "PCX") for image in (color, gray, palette, gray.convert("1"))]
    files["TGA"] = [
        saved(color, "TGA"),
        saved(alpha, "TGA", compression="tga_rle"),
        saved(palette, "TGA"),
    ]
    if importlib.util.find_spec("pillow_heif"):
        files["HEIF"] = [heic(color), heic(alpha)]
    return dict(files)


def sun_raster(pixels: NDArray[np.uint8]) -> bytes:
    """A Sun raster file of ``(H, W, 3)`` colors, W even."""
    height, width = pixels.shape[:2]
    fields = (0x59A66A95, width, height, 24, pixels.size, 3, 0, 0)
    return struct.pack(">8I", *fields) + pixels.tobytes()


def heic(image: Image.Image) -> bytes:
    """A HEIC file, where the plug-in is installed."""
    import pillow_heif  # noqa: PLC0415 (an optional library)

    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=90)
    return buffer.getvalue()
