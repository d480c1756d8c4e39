"""Stand-ins for the datasets, and copies whose labels are permuted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ier_ray.data.images import decode_square
from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.parts import SplitPlan
from ier_ray.data.schema import read_shard_manifest
from ier_ray.data.shards import RowReader, ShardSet
from ier_ray.data.sources.base import Listed
from ier_ray.data.splits import SplitIndex
from ier_ray.emotions import FOUR
from ier_ray.experiments.permuting import permuted, write_permuted
from ier_ray.experiments.stand_ins import FOLDS, STYLES, StandIn, write_stand_ins


def drawn(name: str, number: int = 0, seed: int = 0) -> NDArray[np.float64]:
    source = StandIn(name, seed)
    (domain,) = source.domains
    listed: list[Listed] = list(source.list(domain))
    return decode_square(source.load(domain, listed[number]).image, 32).astype(np.float64)


def test_sizes_are_in_the_paper_s_order() -> None:
    assert list(STYLES) == [
        "fer13",
        "ferg",
        "jaffe",
        "ck_plus",
        "iapsa",
        "artphoto",
        "fi",
        "emotic",
    ]
    by_paper = sorted(STYLES.values(), key=lambda style: style.size)
    drawings = [style.drawings for style in by_paper]
    assert drawings == sorted(drawings)


@pytest.mark.parametrize("name", STYLES)
def test_a_stand_in_lists_all_emotions_alike_and_draws_the_same_each_time(name: str) -> None:
    source = StandIn(name)
    (domain,) = source.domains
    listed = list(source.list(domain))
    counts = np.unique([sample.source_label for sample in listed], return_counts=True)[1]
    assert len(counts) == 4
    assert np.ptp(counts) <= 1
    assert len(listed) == STYLES[name].drawings
    assert np.array_equal(drawn(name), drawn(name))
    assert not np.array_equal(drawn(name), drawn(name, seed=1))
    assert source.name != name  # the paper's figures never stand beside it


def test_styles_differ() -> None:
    grey = [np.ptp(drawn(name, 3), axis=-1).max() for name in ("fer13", "jaffe", "ck_plus")]
    assert max(grey) <= 2
    assert np.ptp(drawn("fi", 3), axis=-1).max() > 60
    means = [np.mean([drawn(name, k).mean() for k in range(8)]) for name in STYLES]
    assert np.ptp(means) > 10
    assert len(np.unique(drawn("ferg", 2)[..., 0])) <= 6


def test_every_part_of_every_stand_in_has_all_classes(tmp_path: Path) -> None:
    for location in write_stand_ins(str(tmp_path)).values():
        shards = ShardSet.open(location)
        for fold in range(FOLDS):  # SplitIndex refuses a part that lacks a class
            plan = SplitPlan(rule="inner", test_fold=fold)
            split = SplitIndex.read(shards, plan)
            for part in (split.train, split.validation, split.test):
                assert len(np.unique(part.label)) == 4


def test_permuted_labels_keep_counts_folds_and_images(tmp_path: Path) -> None:
    layout = LayoutSettings(folds=3, rows_per_shard=30, rows_per_group=7, duplicates="keep")
    source = write_shard_set(
        StandIn("iapsa"), "ier", str(tmp_path / "iapsa"), scheme=FOUR, layout=layout
    ).location
    copy = write_permuted(source, str(tmp_path / "permuted"), seed=0)
    before, after = read_shard_manifest(source), read_shard_manifest(copy)
    assert before.content_hash != after.content_hash
    assert before.counts == after.counts
    one, other = ShardSet.open(source), ShardSet.open(copy)
    a, b = one.index(), other.index()
    for name in ("fold", "hash", "pixels", "group", "row"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert 0.1 < np.mean(a.label == b.label) < 0.5
    for fold in range(3):
        rows = a.fold == fold
        assert np.array_equal(np.bincount(a.label[rows]), np.bincount(b.label[rows]))
    pictures = [
        next(RowReader.of(shards, 16).read(index.positions))
        for shards, index in ((one, a), (other, b))
    ]
    assert np.array_equal(pictures[0]["image"], pictures[1]["image"])
    assert np.array_equal(pictures[1]["label"], b.label)
    assert write_permuted(source, copy, seed=0) == copy


def test_a_permutation_does_not_depend_on_the_order_of_rows() -> None:
    labels = np.arange(12) % 4
    folds = np.repeat([0, 1], 6).astype(np.int8)
    hashes = np.arange(12, dtype=np.uint64) * 7919 % 101
    found = permuted(labels, folds, hashes, seed=3)
    order = np.random.default_rng(0).permutation(12)
    again = permuted(labels[order], folds[order], hashes[order], seed=3)
    by_hash = dict(zip(hashes[order].tolist(), again.tolist(), strict=True))
    # labels of a fold are laid out by the hash of the sample, from labels in that order
    assert sorted(by_hash) == sorted(hashes.tolist())
    assert [by_hash[key] for key in hashes.tolist()] == found.tolist()
