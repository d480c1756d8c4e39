"""Which rows made a checkpoint: recognized in any copy, refused where they would be tested on."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.shards import Labeled, write_labeled

from ier_ray.data.parts import SplitPlan
from ier_ray.data.provenance import SeenRows, check_start, check_test_rows, domain_data
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.errors import DataError


def split_of(source: Labeled, path: Path, plan: SplitPlan | None = None) -> SplitIndex:
    return SplitIndex.read(ShardSet.open(write_labeled(source, path)), plan or SplitPlan())


def test_seen_rows_are_those_that_train_or_select(tmp_path: Path) -> None:
    split = split_of(Labeled(per_class=20), tmp_path)
    seen = SeenRows.of({"ier": split})
    assert len(seen.pixels) == len(set(seen.pixels)) == 64
    assert seen.among(split.train.pixels).all()
    assert seen.among(split.validation.pixels).all()
    assert not seen.among(split.test.pixels).any()
    assert np.unique(seen.parts, return_counts=True)[1].tolist() == [48, 16]


def test_seen_rows_survive_a_file(tmp_path: Path) -> None:
    split = split_of(Labeled(per_class=20), tmp_path)
    seen = SeenRows.of({"fer": split, "ier": split})
    stream = io.BytesIO()
    seen.write(stream)
    stream.seek(0)
    found = SeenRows.read(stream)
    for name, column in vars(seen).items():
        assert np.array_equal(vars(found)[name], column)
    assert len(found.joined(SeenRows.none()).pixels) == 128


def test_another_copy_with_other_folds_and_names_is_recognized(tmp_path: Path) -> None:
    first = split_of(Labeled(per_class=20), tmp_path / "a")
    copy = split_of(Labeled(per_class=20, name="copy", relabeled=3), tmp_path / "b")
    assert first.shards.manifest.content_hash != copy.shards.manifest.content_hash
    seen = SeenRows.of({"ier": first}).among(copy.shards.index().pixels)
    assert seen.sum() == 64


def test_a_test_image_that_trains_the_other_network_is_refused_by_name(tmp_path: Path) -> None:
    ier = split_of(Labeled(per_class=20), tmp_path / "ier")
    fer = split_of(Labeled(per_class=20, domain="fer"), tmp_path / "fer", SplitPlan(test_fold=2))
    with pytest.raises(DataError, match=r"test images of data\.fer .* data\.ier .*: \w+-\d+, "):
        check_test_rows({"fer": fer, "ier": ier})
    other = split_of(Labeled(per_class=20, domain="fer", seed=1), tmp_path / "other")
    check_test_rows({"fer": other, "ier": ier})


def test_mixing_keeps_test_images_out(tmp_path: Path) -> None:
    ier = split_of(Labeled(per_class=20), tmp_path / "ier")
    fer = split_of(Labeled(per_class=20, domain="fer", seed=1), tmp_path / "fer")
    mixed = fer.mixed_with(ier, fraction=1.0, seed=0)
    check_test_rows({"fer": mixed, "ier": ier})
    assert SeenRows.of({"fer": mixed}).among(ier.train.pixels).all()
    leaky = replace(mixed, train=ier.test)  # what mixing must never do
    with pytest.raises(DataError, match=r"16 test images of data\.ier .* data\.fer"):
        check_test_rows({"fer": leaky, "ier": ier})


def test_copies_in_one_set_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    split = split_of(Labeled(per_class=20), tmp_path)
    copied = replace(split, test=split.train)
    with caplog.at_level(logging.WARNING):
        check_test_rows({"ier": copied})
    assert "48 test images of data.ier" in caplog.text
    assert "--duplicates group" in caplog.text


def test_a_start_that_was_trained_on_test_images_is_refused(tmp_path: Path) -> None:
    split = split_of(Labeled(per_class=20), tmp_path)
    other = SplitIndex.read(split.shards, SplitPlan(test_fold=3))
    check_start({"fer": split}, SeenRows.of({"fer": split}), "runs/fer/best")
    with pytest.raises(
        DataError,
        match=r"schedule\.fer_checkpoint runs/fer/best: 16 test images of data\.fer .* "
        r"trained or selected it: \w+-\d+, .*data\.test_fold",
    ):
        check_start({"fer": split}, SeenRows.of({"fer": other}), "runs/fer/best")


def test_class_frequencies_by_hand(tmp_path: Path) -> None:
    split = split_of(Labeled(per_class=20, rare=10), tmp_path)  # 12, 12, 12 and 6 train
    record = domain_data(split, balance=0.0)
    assert record.train_prior == pytest.approx([2 / 7, 2 / 7, 2 / 7, 1 / 7])
    assert record.val_prior == pytest.approx([2 / 7, 2 / 7, 2 / 7, 1 / 7])
    assert record.rows == {"train": 42, "val": 14, "test": 14}
    assert domain_data(split, balance=1.0).train_prior == pytest.approx([1 / 4] * 4)
    half = np.array([12, 12, 12, 6]) * np.sqrt(10.5 / np.array([12, 12, 12, 6]))
    assert domain_data(split, balance=0.5).train_prior == pytest.approx(
        (half / half.sum()).tolist()
    )


def test_without_labels_the_frequencies_are_the_source_domains(tmp_path: Path) -> None:
    fer = domain_data(split_of(Labeled(per_class=20, rare=10), tmp_path / "a"), balance=0.0)
    plan = SplitPlan(reads_labels=False)
    ier = split_of(Labeled(per_class=20, domain="fer"), tmp_path / "b", plan)
    record = domain_data(ier, balance=0.0, source=fer)
    assert record.train_prior == fer.train_prior
    assert record.val_prior is None
