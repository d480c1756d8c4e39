"""The validation folds of a sweep's trials: which, and what of each fold is in which part."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.runs import SIZE, tiny_settings
from support.shards import write_domains

from ier_ray.cluster.folds import trial_runs, validation_folds
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import SyntheticSource
from ier_ray.data.splits import SplitIndex
from ier_ray.errors import SettingsError


@pytest.mark.parametrize(
    ("test_fold", "val_fold", "expected"),
    [
        (0, None, [1, 2, 3, 4]),
        (2, None, [3, 4, 0, 1]),
        (4, None, [0, 1, 2, 3]),
        (1, 3, [3, 4, 0, 2]),
    ],
)
def test_they_follow_the_validation_fold_without_the_test_fold(
    shards: dict[str, str],
    tmp_path: Path,
    test_fold: int,
    val_fold: int | None,
    expected: list[int],
) -> None:
    settings = tiny_settings(shards, tmp_path, data__test_fold=test_fold, data__val_fold=val_fold)
    for count in range(1, 5):
        assert validation_folds(settings, count) == expected[:count]


def test_each_run_validates_on_another_fold_and_none_sees_a_test_row(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(shards, tmp_path, name="trial-0000")
    assert trial_runs(settings, 1) == [settings]
    runs = trial_runs(settings, 4)
    assert [run.name for run in runs] == [f"fold-{fold}" for fold in range(4)]
    assert {run.storage for run in runs} == {f"{tmp_path}/trial-0000"}
    for domain in settings.domains:
        index = ShardSet.open(shards[domain])
        whole = set(index.index().hash.tolist())
        test = set(SplitIndex.read(index, settings.split_plan(domain)).test.hash.tolist())
        validated: set[int] = set()
        for run in runs:
            split = SplitIndex.read(index, run.split_plan(domain))
            train, validation = (set(one.hash.tolist()) for one in (split.train, split.validation))
            assert not validation & (train | test | validated)
            assert not train & test
            assert train | validation | test == whole
            validated |= validation
        assert validated == whole - test


def test_no_more_folds_than_there_are(shards: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError,
        match=r"search\.folds is 5, but data\.fer and data\.ier divided into 5 folds leave 4 "
        r"beside the test fold: lower it, or ingest again with more --folds",
    ):
        validation_folds(tiny_settings(shards, tmp_path), 5)


def test_domains_in_different_folds_are_refused(shards: dict[str, str], tmp_path: Path) -> None:
    source = SyntheticSource(samples=64, size=SIZE, seed=5)
    thirds = write_domains(source, tmp_path, LayoutSettings(folds=3))
    data = {"fer": thirds["fer"], "ier": shards["ier"]}
    with pytest.raises(
        SettingsError,
        match=r"data\.fer has 3 folds, data\.ier has 5; search\.folds 2 validates on the same fold "
        r"of both: ingest one of them again",
    ):
        validation_folds(tiny_settings(data, tmp_path), 2)
    apart = tiny_settings(data, tmp_path, data__fer_split="inner")  # whose folds validate nothing
    assert validation_folds(apart, 4) == [1, 2, 3, 4]
