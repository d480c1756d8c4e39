"""Several folders in one set: of several datasets, or the parts of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sources import assert_same_colors, colors, listing, paint, samples_of, skipped_of

from ier_ray.data.sources import CombinedSource, SyntheticSource, open_source
from ier_ray.data.sources.combined import distinct_ends
from ier_ray.errors import SettingsError


def combined(*paths: Path) -> CombinedSource:
    return CombinedSource(tuple(open_source("auto", str(path), domain="fer") for path in paths))


def test_the_parts_of_one_dataset_are_one_set(tmp_path: Path) -> None:
    root = tmp_path / "raf"
    painted = paint(root, *(f"{part}/{n}/1.jpg" for part in ("train", "test") for n in (1, 4)))
    (root / "train/notes.txt").write_text("")
    source = combined(root / "train", root / "test")
    assert source.name == "raf_db"
    found = {s.sample_id: (s.source_label, s.split, s.dataset) for s in samples_of(source)}
    assert found == {
        f"raf_db/{part}/{n}/1.jpg": (label, part, "raf_db")
        for part in ("train", "test")
        for n, label in ((1, "surprise"), (4, "happiness"))
    }
    assert all(group == f"raf_db/{path}" for path, _, group in listing(source))
    assert skipped_of(source) == {"train/notes.txt": "not_an_image"}
    assert_same_colors(colors(source), painted)


def test_subjects_of_two_folders_of_a_dataset_are_the_same(tmp_path: Path) -> None:
    paths = ("a/happy/S010_004_00000017.png", "b/anger/S010_002_00000014.png")
    paint(tmp_path, *paths)
    source = combined(tmp_path / "a", tmp_path / "b")
    assert listing(source) == [(paths[0], "happy", "S010"), (paths[1], "anger", "S010")]


def test_fer2013_in_two_folders_of_parts(tmp_path: Path) -> None:
    paint(tmp_path, "Training/Angry/1.jpg", "PrivateTest/Happy/1.jpg")
    source = combined(tmp_path / "Training", tmp_path / "PrivateTest")
    assert source.name == "fer13"
    assert [(s.source_label, s.split) for s in samples_of(source)] == [
        ("angry", "train"),
        ("happy", "test"),
    ]


def test_a_folder_in_another_one_is_refused(tmp_path: Path) -> None:
    paint(tmp_path, "raf/train/1/1.jpg", "raf/trainset/1/1.jpg")
    root = tmp_path / "raf"
    for paths in ((root, root / "train"), (root / "train", root / "train")):
        with pytest.raises(SettingsError, match=r"path: .*/raf/train is in .*/raf\b"):
            combined(*paths)
    drawn = SyntheticSource(samples=1, size=32, seed=0)
    assert CombinedSource((drawn, drawn)).name == "synthetic"
    assert open_source("folder", f"{root}/trainset", domain="fer")


def test_ends_that_tell_paths_apart() -> None:
    assert distinct_ends(["/x/train", "/x/test"]) == ["train", "test"]
    assert distinct_ends(["/a/set", "/b/set", "/c"]) == ["a/set", "b/set", "/c"]
    assert distinct_ends(["/x"]) == ["x"]
