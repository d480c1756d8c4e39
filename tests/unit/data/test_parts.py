"""Training, validation and test parts: laws of every rule, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from support.shards import Labeled, write_labeled

from ier_ray.data.parts import SplitPlan, SplitRule
from ier_ray.data.schema import PARTS, Part
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.errors import DataError

TRAIN, VAL, TEST = range(3)


def own_parts(*counts: int) -> list[Part | None]:
    """So many pictures of each class in training, validation, test, and none of them."""
    names: tuple[Part | None, ...] = (*PARTS, None)
    return [name for name, count in zip(names, counts, strict=False) for _ in range(count)]


def shards_of(path: Path, per_class: int = 20, **changes: Any) -> ShardSet:
    return ShardSet.open(write_labeled(Labeled(per_class=per_class, **changes), path, folds=5))


@pytest.mark.parametrize("plan", [
    SplitPlan(test_fold=3),
    SplitPlan(test_fold=4),
    SplitPlan(test_fold=1, val_fold=4),
    SplitPlan(rule="inner", test_fold=2, val_fraction=0.25),
    SplitPlan(rule="inner", test_fold=2, val_fraction=0.25, reads_labels=False),
    SplitPlan(rule="own"),
])  # fmt: skip
def test_every_row_is_in_one_part_and_every_group_too(plan: SplitPlan, tmp_path: Path) -> None:
    shards = shards_of(tmp_path, groups_of=2, splits=own_parts(12, 0, 8))
    index = shards.index()
    parts = plan.parts(index, shards)
    assert set(parts.tolist()) == {TRAIN, VAL, TEST}
    for group in np.unique(index.group):
        assert len(set(parts[index.group == group].tolist())) == 1
    if plan.rule == "own":
        assert np.array_equal(parts == TEST, index.split == TEST)
    else:
        assert np.array_equal(parts == TEST, index.fold == plan.test_fold)
    again = plan.parts(index, shards)
    assert np.array_equal(parts, again)


def test_by_default_the_fold_after_the_test_fold_validates(tmp_path: Path) -> None:
    shards = shards_of(tmp_path)
    index = shards.index()
    for test_fold, val_fold in ((0, 1), (4, 0)):
        parts = SplitPlan(test_fold=test_fold).parts(index, shards)
        assert np.array_equal(parts == VAL, index.fold == val_fold)


def test_an_inner_split_takes_its_fraction_of_every_class(tmp_path: Path) -> None:
    shards = shards_of(tmp_path)
    index = shards.index()  # 16 of each class are not in the test fold
    parts = SplitPlan(rule="inner", val_fraction=0.25).parts(index, shards)
    assert np.bincount(index.label[parts == VAL]).tolist() == [4, 4, 4, 4]
    other = SplitPlan(rule="inner", val_fraction=0.25, seed=1).parts(index, shards)
    assert not np.array_equal(parts, other)


def test_a_draw_that_reads_no_label_does_not_depend_on_labels(tmp_path: Path) -> None:
    shards = shards_of(tmp_path)
    index = shards.index()
    noise = np.random.default_rng(0).permutation(index.label)
    shuffled = type(index)(**{**vars(index), "label": noise})
    plan = SplitPlan(rule="inner", reads_labels=False)
    assert np.array_equal(plan.parts(index, shards), plan.parts(shuffled, shards))


def test_own_parts_with_a_validation_part_are_taken_as_they_are(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, splits=own_parts(10, 4, 4, 2))
    index = shards.index()
    split = SplitIndex.read(shards, SplitPlan(rule="own"))
    assert [len(part) for part in (split.train, split.validation, split.test)] == [40, 16, 16]
    assert np.array_equal(SplitPlan(rule="own").parts(index, shards), index.split)


def test_a_group_in_two_own_parts_is_named(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, groups_of=2, splits=own_parts(11, 5, 4))
    with pytest.raises(
        DataError, match=r"4 groups are in two parts, .*\((train|val)\), .*\((train|val)\): .*inner"
    ):
        SplitIndex.read(shards, SplitPlan(rule="own"))


@pytest.mark.parametrize(("splits", "rule", "message"), [
    (own_parts(0, 0, 0, 20), "own", "no row has split test; use data.split folds or inner"),
    (own_parts(0, 10, 10), "own", r"leaves 0 train, 40 val, 40 test rows; no part may be empty"),
])  # fmt: skip
def test_an_empty_part_is_refused(
    splits: list[Part | None], rule: SplitRule, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        SplitIndex.read(shards_of(tmp_path, splits=splits), SplitPlan(rule=rule))


def test_two_folds_leave_no_training_part(tmp_path: Path) -> None:
    shards = ShardSet.open(write_labeled(Labeled(per_class=8), tmp_path, folds=2))
    with pytest.raises(DataError, match=r"leaves 0 train, 16 val, 16 test rows; .* more --folds"):
        SplitIndex.read(shards, SplitPlan())
    assert len(SplitIndex.read(shards, SplitPlan(rule="inner", val_fraction=0.25)).validation) == 4


def test_a_class_without_a_row_in_a_part_is_refused_by_name(tmp_path: Path) -> None:
    location = write_labeled(Labeled(per_class=20, rare=3), tmp_path, folds=5)
    shards = ShardSet.open(location)
    with pytest.raises(DataError, match=r"but no (test|val) row of anger; .* fewer --folds"):
        [SplitIndex.read(shards, SplitPlan(test_fold=fold)) for fold in range(5)]
    for fold in range(5):  # a run that reads no label cannot know
        SplitIndex.read(shards, SplitPlan(test_fold=fold, reads_labels=False))


def test_equal_folds_are_refused() -> None:
    with pytest.raises(ValidationError, match="val_fold and test_fold are both 2"):
        SplitPlan(test_fold=2, val_fold=2)
