"""Which images are recognized as copies of each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from support.pictures import COPIES, picture, saved

from ier_ray.data.fingerprints import FINGERPRINTS, Fingerprints, fingerprint
from ier_ray.data.images import decode_rgb
from ier_ray.data.near_duplicates import BANDS, NEIGHBORS, duplicate_clusters
from ier_ray.data.sources import SyntheticSource

DRAWINGS = SyntheticSource(samples=60, size=64, seed=4)


def prints_of(images: Sequence[bytes]) -> Fingerprints:
    rows = [{"row": n, **fingerprint(decode_rgb(image))} for n, image in enumerate(images)]
    return Fingerprints.of([pa.Table.from_pylist(rows, FINGERPRINTS)])


def originals() -> list[bytes]:
    """Drawings of both domains with all four labels, and blobs: all different."""
    drawn = [
        DRAWINGS.load(domain, sample).image
        for domain in DRAWINGS.domains
        for sample in DRAWINGS.list(domain)
    ]
    return drawn + [saved(picture(seed)) for seed in range(40)]


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_found_and_different_pictures_are_not(copy: str) -> None:
    images = originals()
    copies = [COPIES[copy](decode_rgb(image)) for image in images]
    labels = duplicate_clusters(prints_of(images + copies))
    np.testing.assert_array_equal(labels[: len(images)], labels[len(images) :])
    assert len(np.unique(labels)) == len(images)


def test_flat_pictures_are_only_copies_of_their_own_color() -> None:
    flat = [saved(Image.new("RGB", (20, 20), (gray, gray, 90))) for gray in (60, 61, 200, 60)]
    labels = duplicate_clusters(prints_of(flat))
    assert labels[0] == labels[3]
    assert len(set(labels)) == 3


def made(hashes: np.ndarray, thumbnails: np.ndarray, mirrored: np.ndarray) -> Fingerprints:
    count = len(hashes)
    return Fingerprints(
        row=np.arange(count),
        pixels=np.arange(count, dtype=np.uint64),
        hash=hashes,
        mirrored=mirrored,
        thumbnail=thumbnails,
        textured=np.ones(count, np.bool_),
    )


def with_flips(hashes: np.ndarray, flips: int, generator: np.random.Generator) -> np.ndarray:
    bits = np.unpackbits(hashes, axis=1)
    for row in bits:
        row[generator.choice(256, flips, replace=False)] ^= 1
    return np.packbits(bits, axis=1)


@pytest.mark.parametrize(("flips", "same"), [(0, True), (BANDS - 1, True), (34, False)])
def test_fewer_flipped_bits_than_bands_are_always_found(flips: int, same: bool) -> None:
    generator = np.random.default_rng(flips)
    hashes, mirrored = generator.integers(0, 256, (2, 500, 32), dtype=np.uint8)
    thumbnails = generator.integers(0, 256, (500, 8, 8, 3), dtype=np.uint8)
    near, other = with_flips(hashes, flips, generator), with_flips(mirrored, flips, generator)
    prints = made(
        np.concatenate([hashes, near]),
        np.concatenate([thumbnails, thumbnails]),
        np.concatenate([mirrored, other]),
    )
    labels = duplicate_clusters(prints)
    assert len(np.unique(labels)) == (500 if same else 1000)
    assert np.array_equal(labels[:500], labels[500:]) is same


def test_equal_hashes_of_different_looking_pictures_are_no_copies() -> None:
    generator = np.random.default_rng(1)
    hashes = np.repeat(generator.integers(0, 256, (1, 32), dtype=np.uint8), 50, axis=0)
    thumbnails = generator.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    labels = duplicate_clusters(made(hashes, thumbnails, hashes))
    assert len(np.unique(labels)) == 50


def test_more_copies_than_neighbors_are_one_cluster() -> None:
    generator = np.random.default_rng(2)
    count = 3 * NEIGHBORS
    hashes, mirrored = np.repeat(
        generator.integers(0, 256, (2, 1, 32), dtype=np.uint8), count, axis=1
    )
    thumbnails = np.repeat(generator.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8), count, axis=0)
    labels = duplicate_clusters(
        made(with_flips(hashes, 2, generator), thumbnails, with_flips(mirrored, 2, generator))
    )
    assert len(np.unique(labels)) == 1


def test_no_images_have_no_clusters() -> None:
    assert len(duplicate_clusters(Fingerprints.of([]))) == 0
