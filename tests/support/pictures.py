"""Pictures that are told apart by what they show, and copies of them as they occur in datasets."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from ier_ray.data.images import decode_rgb
from ier_ray.data.schema import Domain
from ier_ray.data.sources import Listed, Loaded


def picture(seed: int, *, side: int = 96) -> Image.Image:
    """Colored blobs with some grain."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 255, (9, 9, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float64)
    grain = generator.normal(0, 6, (side, side, 1))
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def saved(image: Image.Image, suffix: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=suffix, **options)
    return buffer.getvalue()


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "exact": saved,
    "other format": lambda image: saved(image, "BMP"),
    "encoded again": lambda image: saved(image, "JPEG", quality=60),
    "half the size": lambda image: saved(image.reduce(2)),
    "mirrored": lambda image: saved(ImageOps.mirror(image)),
    "PNG of a JPEG": lambda image: saved(decode_rgb(saved(image, "JPEG", quality=80))),
    "mirrored and encoded again": lambda image: saved(ImageOps.mirror(image), "JPEG", quality=60),
}


@dataclass(frozen=True)
class Gallery:
    """The given samples and their encoded images."""

    samples: tuple[Listed, ...]
    images: tuple[bytes, ...]
    name: str = "gallery"
    domains: tuple[Domain, ...] = ("ier",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        for number, sample in enumerate(self.samples):
            yield sample._replace(locator=str(number))

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        return Loaded(self.images[int(sample.locator)], None)
