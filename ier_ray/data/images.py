"""Decoding, resizing and encoding images; untrusted bytes are checked."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ier_ray.errors import ImageError

MAX_PIXELS = 50_000_000
"""Largest image accepted, in pixels; checked before decoding."""

JPEG_QUALITY = 95

Pixels = NDArray[np.uint8]


def decode_rgb(encoded: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode the first frame as RGB: EXIF rotation applied, alpha on white, 16 bits scaled to 8.

    Raises:
        ImageError: with reason ``empty``, ``unidentified``, ``too_large`` or ``truncated``.
    """
    if not encoded:
        raise ImageError("empty", "the image has no bytes")
    try:
        image = Image.open(io.BytesIO(encoded))
    except Image.DecompressionBombError as error:
        raise ImageError("too_large", str(error)) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ImageError("unidentified", "the bytes are not an image of a known format") from error
    if image.width * image.height > max_pixels:
        raise ImageError(
            "too_large",
            f"the image has {image.width}x{image.height} pixels, but only {max_pixels} are allowed",
        )
    try:
        ImageOps.exif_transpose(image, in_place=True)
        return _as_rgb(image)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ImageError("truncated", f"the image cannot be decoded: {error}") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        scaled = np.asarray(image).astype(np.float64) / 257.0
        return Image.fromarray(np.clip(scaled.round(), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        foreground = image.convert("RGBA")
        background = Image.new("RGBA", foreground.size, "white")
        return Image.alpha_composite(background, foreground).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def pixel_hash(image: Image.Image) -> int:
    """A 64-bit hash of an image's size and pixels: equal for equal pictures in any file format."""
    digest = hashlib.blake2b(f"{image.mode} {image.width}x{image.height} ".encode(), digest_size=8)
    digest.update(image.tobytes())
    return int.from_bytes(digest.digest(), "little")


def decode_square(encoded: bytes, size: int, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode and resize to ``(size, size, 3)`` uint8 (bilinear, antialiased).

    Raises:
        ImageError: as for :func:`decode_rgb`.
    """
    pixels = np.array(decode_rgb(encoded, max_pixels=max_pixels))
    return pixels if pixels.shape == (size, size, 3) else resized(pixels, size)


def resized(pixels: Pixels, size: int) -> Pixels:
    """Resize ``(H, W, 3)`` to ``(size, size, 3)``.

    Equal to Pillow's antialiased bilinear filter within 1 of 255, and about four times as fast.
    """
    import torch  # noqa: PLC0415 (a slow import, not needed for images that fit)

    planes = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    small = torch.nn.functional.interpolate(planes, (size, size), mode="bilinear", antialias=True)
    square: Pixels = small.permute(0, 2, 3, 1)[0].numpy()
    return square


def reduced(image: Image.Image, *, shorter_side: int) -> tuple[bytes, Image.Image]:
    """Downscale an image, keeping its aspect ratio: as JPEG bytes, and as pixels."""
    factor = shorter_side / min(image.size)
    width, height = (max(1, round(side * factor)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue(), small


def encode_png(pixels: Pixels | NDArray[np.bool_]) -> bytes:
    """Lossless PNG of ``(H, W, 3)`` colors or an ``(H, W)`` boolean mask (1 bit per pixel)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_mask(encoded: bytes, size: int) -> NDArray[np.bool_]:
    """Decode a mask, resized to ``(size, size)`` (nearest neighbor)."""
    mask = Image.open(io.BytesIO(encoded)).convert("1")
    if mask.size != (size, size):
        mask = mask.resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(mask, dtype=np.bool_)
