"""Fingerprints of images, by which duplicates are recognized; a few hundred bytes per image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import imagehash
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ier_ray.data.images import decode_rgb, pixel_hash
from ier_ray.data.listing import listed_of
from ier_ray.data.schema import Domain
from ier_ray.data.sources import Source
from ier_ray.errors import ImageError

HASH_SIDE = 16
"""Side of the block of DCT coefficients whose signs are the perceptual hash: 256 bits."""

GRAY_SIDE = 4 * HASH_SIDE
"""Side of the gray image that is transformed, as in ``imagehash.phash``."""

THUMBNAIL_SIDE = 8

MIN_CONTRAST = 4.0
"""Standard deviation of the gray values, of 255. The hash of a flatter image is only noise."""

FINGERPRINTS = pa.schema(
    [
        ("row", pa.int64()),
        ("pixels", pa.uint64()),
        ("hash", pa.binary(HASH_SIDE**2 // 8)),
        ("mirrored", pa.binary(HASH_SIDE**2 // 8)),
        ("thumbnail", pa.binary(3 * THUMBNAIL_SIDE**2)),
        ("textured", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Fingerprinter:
    """Loads a block of listed samples and takes their fingerprints; can run in any process."""

    source: Source
    domain: Domain

    def __call__(self, block: pa.Table) -> pa.Table:
        """One row per usable image, as :data:`FINGERPRINTS`; ``row`` is copied from the block.

        Unusable images are left out: the shard writer reports them.
        """
        found = []
        for entry in block.to_pylist():
            try:
                image = decode_rgb(self.source.load(self.domain, listed_of(entry)).image)
            except ImageError:
                continue
            found.append({"row": entry["row"], **fingerprint(image)})
        return pa.Table.from_pylist(found, FINGERPRINTS)


def fingerprint(image: Image.Image) -> dict[str, Any]:
    """Hash of the pixels, perceptual hashes of the image and its mirror image, and a thumbnail."""
    gray = image.convert("L").resize((GRAY_SIDE, GRAY_SIDE), Image.Resampling.LANCZOS)
    small = image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    return {
        "pixels": pixel_hash(image),
        "hash": _perceptual(gray),
        "mirrored": _perceptual(ImageOps.mirror(gray)),
        "thumbnail": small.tobytes(),
        "textured": bool(np.asarray(gray).std() >= MIN_CONTRAST),
    }


def _perceptual(gray: Image.Image) -> bytes:
    return np.packbits(imagehash.phash(gray, hash_size=HASH_SIDE).hash).tobytes()


@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of N images as arrays, in the order of ``row``."""

    row: NDArray[np.int64]
    """``(N,)``: position in the listing."""
    pixels: NDArray[np.uint64]
    """``(N,)``."""
    hash: NDArray[np.uint8]
    """``(N, 32)``: 256 packed bits."""
    mirrored: NDArray[np.uint8]
    """``(N, 32)``: of the mirror image."""
    thumbnail: NDArray[np.uint8]
    """``(N, 8, 8, 3)``."""
    textured: NDArray[np.bool_]
    """``(N,)``: whether the perceptual hashes say anything."""

    @classmethod
    def of(cls, tables: Iterable[pa.Table]) -> Fingerprints:
        """The fingerprints of all blocks, which may come in any order."""
        table = pa.concat_tables([FINGERPRINTS.empty_table(), *tables]).sort_by("row")

        def packed(name: str, *shape: int) -> NDArray[np.uint8]:
            joined = b"".join(table[name].to_pylist())
            return np.frombuffer(joined, np.uint8).reshape(len(table), *shape)

        return cls(
            row=table["row"].to_numpy(),
            pixels=table["pixels"].to_numpy(),
            hash=packed("hash", HASH_SIDE**2 // 8),
            mirrored=packed("mirrored", HASH_SIDE**2 // 8),
            thumbnail=packed("thumbnail", THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3),
            textured=table["textured"].to_numpy(),
        )

    def __len__(self) -> int:
        return len(self.row)
