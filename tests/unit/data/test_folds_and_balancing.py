from __future__ import annotations

import numpy as np
import pytest

from ier_ray.data.balancing import class_weights, hash_ids, repetitions, uniforms
from ier_ray.data.folds import assign_folds
from ier_ray.errors import DataError


def test_single_samples_are_stratified_to_within_one() -> None:
    labels = ["a"] * 53 + ["b"] * 17
    folds = assign_folds(labels, [str(i) for i in range(70)], folds=5, seed=2)
    for label in "ab":
        counts = np.bincount(folds[np.array(labels) == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    other = assign_folds(labels, [str(i) for i in range(70)], folds=5, seed=3)
    assert not np.array_equal(folds, other)


def test_groups_are_never_split() -> None:
    groups = [f"subject-{i % 12}" for i in range(120)]
    labels = ["ab"[i % 2] for i in range(120)]
    folds = assign_folds(labels, groups, folds=5, seed=0)
    for group in set(groups):
        assert len(set(folds[np.array(groups) == group])) == 1
    assert set(folds) == set(range(5))


def test_single_samples_level_what_groups_leave_uneven() -> None:
    labels = ["a"] * 60 + ["b"] * 40
    groups = [f"pair-{i // 2}" if i < 14 else f"single-{i}" for i in range(100)]
    folds = assign_folds(labels, groups, folds=5, seed=1)
    for group in set(groups):
        assert len(set(folds[np.array(groups) == group])) == 1
    for label in "ab":
        counts = np.bincount(folds[np.array(labels) == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    other = assign_folds(labels, groups, folds=5, seed=2)
    assert not np.array_equal(folds, other)


def test_few_samples_and_groups_fill_every_fold() -> None:
    folds = assign_folds(["a", "a", "a", "b"], ["x", "x", "y", "z"], folds=3, seed=0)
    assert folds[0] == folds[1]
    assert set(folds) == {0, 1, 2}


def test_too_few_groups_is_an_error() -> None:
    with pytest.raises(DataError, match=r"folds=5 .* only 3"):
        assign_folds(["a"] * 9, ["x", "y", "z"] * 3, folds=5, seed=0)


def test_class_weights_by_hand() -> None:
    # Mean count 20: weight 2 for the minority, 2/3 for the majority, 0 for the absent class.
    np.testing.assert_allclose(class_weights(np.array([10, 0, 30]), 1.0), [2.0, 0.0, 2 / 3])
    np.testing.assert_allclose(class_weights(np.array([5, 20, 35]), 0.0), [1.0, 1.0, 1.0])


def test_uniforms_are_uniform_and_depend_on_seed_epoch_and_sample() -> None:
    hashes = hash_ids([f"sample-{i}" for i in range(20_000)])
    first = uniforms(hashes, seed=0, epoch=0)
    assert first.min() >= 0
    assert first.max() < 1
    counts, _ = np.histogram(first, bins=20, range=(0, 1))
    assert (
        (counts - 1000) ** 2 / 1000
    ).sum() < 45  # chi-squared, 19 degrees of freedom, p = 0.0007
    for other in (uniforms(hashes, seed=1, epoch=0), uniforms(hashes, seed=0, epoch=1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.03


def test_repetitions_balance_classes_to_within_three_sigma() -> None:
    labels = np.repeat([0, 1, 2], [4000, 1000, 2500])
    hashes = hash_ids([str(i) for i in range(len(labels))])
    repeats = repetitions(labels, hashes, strength=1.0, seed=5, epoch=2)
    weights = 2500 / np.array([4000, 1000, 2500])
    for label, weight in enumerate(weights):
        own = repeats[labels == label]
        assert set(own) <= {np.floor(weight), np.floor(weight) + 1}
        fraction = weight - np.floor(weight)
        sigma = np.sqrt(len(own) * fraction * (1 - fraction))
        assert abs(own.sum() - 2500) <= 3 * sigma + 1e-9
