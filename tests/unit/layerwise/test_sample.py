"""The images that are compared."""

from __future__ import annotations

import numpy as np

from ier_ray.layerwise.sample import balanced_sample

LABELS = np.array([0] * 9 + [1] * 4 + [3] * 6)


def test_each_class_that_has_images_has_as_many_as_the_rarest() -> None:
    drawn = balanced_sample(LABELS, most=100, seed=0)
    assert np.bincount(LABELS[drawn]).tolist() == [4, 4, 0, 4]
    assert (np.diff(drawn) > 0).all()


def test_no_more_are_drawn_than_wanted_and_the_seed_decides_which() -> None:
    first, again, other = (balanced_sample(LABELS, most=3, seed=seed) for seed in (0, 0, 1))
    assert np.bincount(LABELS[first]).tolist() == [3, 3, 0, 3]
    assert first.tolist() == again.tolist() != other.tolist()


def test_of_no_images_none_are_drawn() -> None:
    assert balanced_sample(np.empty(0, np.int64), most=3, seed=0).tolist() == []
