from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ier_ray.data.images import decode_mask, decode_rgb, decode_square, encode_png
from ier_ray.errors import ImageError


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def test_gray_becomes_three_equal_channels() -> None:
    gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
    pixels = np.asarray(decode_rgb(encoded(Image.fromarray(gray))))
    np.testing.assert_array_equal(pixels, np.repeat(gray[..., None], 3, axis=2))


def test_transparent_images_get_a_white_background() -> None:
    image = Image.new("RGBA", (1, 1), (0, 0, 0, 51))
    assert decode_rgb(encoded(image)).getpixel((0, 0)) == (204, 204, 204)
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([10, 20, 30])
    assert decode_rgb(encoded(palette)).getpixel((0, 0)) == (10, 20, 30)
    assert decode_rgb(encoded(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    pixels = np.asarray(decode_rgb(encoded(Image.fromarray(deep))))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (40, 20))
    image.paste((255, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated by 90 degrees
    upright = decode_rgb(encoded(image, "JPEG", exif=exif.tobytes(), quality=95))
    assert upright.size == (20, 40)
    red = np.asarray(upright)[:, :, 0]
    assert red[5, 10] > 200
    assert red[35, 10] < 50


def test_cmyk_becomes_rgb_and_an_animation_its_first_frame() -> None:
    assert decode_rgb(encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG")).mode == "RGB"
    frames = [Image.new("RGB", (3, 3), color) for color in ("red", "blue")]
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_rgb(animated).getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not an image", "unidentified"),
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:900], "truncated"),
        (encoded(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG")[:900], "truncated"),
        (encoded(Image.effect_noise((64, 64), 90), "PNG")[:900], "truncated"),
        (encoded(Image.new("L", (200, 100))), "too_large"),
    ],
)
def test_unusable_bytes_have_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_rgb(content, max_pixels=10_000)
    assert caught.value.reason == reason


@pytest.mark.parametrize("shape", [(90, 61), (20, 33)])
def test_resizing_equals_pillow(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BILINEAR)
    found = decode_square(encode_png(pixels), 48)
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 1
    assert found.flags.c_contiguous


def test_square_resize_and_mask() -> None:
    image = Image.new("RGB", (64, 32), (10, 200, 30))
    assert decode_square(encoded(image), 16).shape == (16, 16, 3)
    mask = np.zeros((8, 8), dtype=bool)
    mask[:4, :4] = True
    large = decode_mask(encode_png(mask), 16)
    assert large[:8, :8].all()
    assert large.sum() == 64
