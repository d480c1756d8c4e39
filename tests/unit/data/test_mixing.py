"""Training rows of another domain mixed into a network's own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from support.runs import local_streams
from support.streams import named

from ier_ray.data.parts import SplitPlan
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex


def test_a_mixed_in_fraction_is_drawn_from_every_class_and_only_from_training_rows(
    unbalanced: dict[str, str],
) -> None:
    fer, ier = (
        SplitIndex.read(ShardSet.open(unbalanced[domain]), SplitPlan()) for domain in ("fer", "ier")
    )
    half = fer.mixed_with(ier, fraction=0.5, seed=3)
    added = half.train.select(half.train.file >= len(fer.files))
    np.testing.assert_array_equal(
        np.bincount(added.label), np.rint(np.bincount(ier.train.label) * 0.5)
    )
    assert set(added.hash) <= set(ier.train.hash)
    assert not set(added.hash) & set(ier.validation.hash)
    np.testing.assert_array_equal(half.train.hash[: len(fer.train)], fer.train.hash)
    np.testing.assert_array_equal(half.validation.hash, fer.validation.hash)
    more = fer.mixed_with(ier, fraction=0.8, seed=3)
    assert set(half.train.hash) < set(more.train.hash)
    other = fer.mixed_with(ier, fraction=0.5, seed=4)
    assert set(other.train.hash) != set(half.train.hash)
    everything = fer.mixed_with(ier, fraction=1.0, seed=3)
    assert set(everything.train.hash) == set(fer.train.hash) | set(ier.train.hash)


def test_mixed_rows_are_read_from_their_own_files(unbalanced: dict[str, str]) -> None:
    plain = local_streams(unbalanced)
    fer, ier = plain.splits["fer"], plain.splits["ier"]
    mixed = replace(plain, fer=fer.mixed_with(ier, fraction=0.5, seed=1))
    plain, plain_names = named(plain)
    mixed, mixed_names = named(mixed)
    ier_images = {
        name: image
        for batch in plain.train(0)
        for name, image in zip(plain_names["ier"][-1], batch.ier.images, strict=True)
    }
    read: Counter[str] = Counter()
    for batch in mixed.train(0):
        for name, image in zip(mixed_names["fer"][-1], batch.fer.images, strict=True):
            read[name.split("-")[1]] += 1
            if name in ier_images:
                np.testing.assert_array_equal(image, ier_images[name])
    assert read["ier"] > 50
    assert read["fer"] > read["ier"]
