"""Label folders that are numbers, in folders of parts: RAF-DB and AffectNet."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sources import assert_same_colors, colors, paint, samples_of, skipped_of

from ier_ray.data.sources import Source, open_source
from ier_ray.data.sources.coded import label_of_code
from ier_ray.emotions import SEVEN
from ier_ray.errors import DataError, SettingsError

RAF_DB = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")


def found(source: Source) -> dict[str, tuple[str | None, str | None]]:
    """Class and part of each sample by its path."""
    start = len(source.name) + 1
    return {
        s.sample_id[start:]: (SEVEN.class_of(s.source_label), s.split) for s in samples_of(source)
    }


@pytest.mark.parametrize("around", ["", "DATASET/", "raf/basic/"])
def test_raf_db_in_folders(tmp_path: Path, around: str) -> None:
    paths = [f"{around}{part}/{n}/{n}.jpg" for part in ("train", "test") for n in range(1, 8)]
    painted = paint(tmp_path, *paths)
    for table in ("train_labels.csv", "test_labels.csv"):
        (tmp_path / table).write_text("image,label\n1.jpg,1\n")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("raf_db", ("fer",))
    assert found(source) == {
        f"{around}{part}/{n}/{n}.jpg": (RAF_DB[n - 1], part)
        for part in ("train", "test")
        for n in range(1, 8)
    }
    assert_same_colors(colors(source), painted)


def test_raf_db_as_distributed(tmp_path: Path) -> None:
    paint(
        tmp_path,
        "basic/Image/aligned/train_00001_aligned.jpg",
        "basic/Image/aligned/test_0001_aligned.jpg",
        "basic/Image/original/train_00001.jpg",
        "basic/Image/original/train_00002.jpg",
    )
    listed = tmp_path / "basic/EmoLabel/list_patition_label.txt"
    listed.parent.mkdir()
    listed.write_text("train_00001.jpg 5\ntest_0001.jpg 4\ntrain_00002.jpg 9\n\ntest_0002.jpg 1\n")
    source = open_source("auto", str(tmp_path))
    assert source.name == "raf_db"
    assert found(source) == {
        "basic/Image/aligned/train_00001_aligned.jpg": ("sad", "train"),
        "basic/Image/aligned/test_0001_aligned.jpg": ("happy", "test"),
        "basic/Image/original/train_00002.jpg": (None, "train"),
        "test_0002.jpg": ("surprise", "test"),
    }
    assert skipped_of(source) == {
        "basic/EmoLabel/list_patition_label.txt": "annotations",
        "basic/Image/original/train_00001.jpg": "outside_layout",
    }
    listed.write_bytes("train_00001.jpg 5\né".encode("latin-1"))
    with pytest.raises(DataError, match=r"label\.txt: not a text in UTF-8, which was tried"):
        samples_of(source)


def test_affectnet_by_numbers_and_by_words(tmp_path: Path) -> None:
    classes = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", None)
    paint(tmp_path / "numbers", *(f"train/{n}/a.jpg" for n in range(8)), "val/0/b.jpg")
    source = open_source("auto", f"{tmp_path}/numbers")
    assert (source.name, source.domains) == ("affectnet", ("fer",))
    expected = {f"train/{n}/a.jpg": (name, "train") for n, name in enumerate(classes)}
    assert found(source) == {**expected, "val/0/b.jpg": ("neutral", "val")}
    assert samples_of(source)[7].source_label == "contempt"
    words = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", "Contempt")
    paint(tmp_path / "words", *(f"val_set/{word}/a.jpg" for word in words))
    source = open_source("auto", f"{tmp_path}/words")
    assert source.name == "affectnet"
    assert found(source) == {
        f"val_set/{word}/a.jpg": (name, "val") for word, name in zip(words, classes, strict=True)
    }


def test_numbers_that_two_datasets_have_are_asked_for(tmp_path: Path) -> None:
    paint(tmp_path, *(f"train/{n}/a.jpg" for n in range(7)))
    with pytest.raises(DataError, match=r"numbers \[0, 1, .* --source fer13 or --source affectnet"):
        open_source("auto", str(tmp_path), domain="fer")
    assert found(open_source("fer13", str(tmp_path)))["train/0/a.jpg"] == ("anger", "train")
    assert found(open_source("affectnet", str(tmp_path)))["train/0/a.jpg"] == ("neutral", "train")
    taken = samples_of(open_source("folder", str(tmp_path), domain="fer"))
    assert [sample.source_label for sample in taken] == list("0123456")


def test_other_numbers_are_labels_of_a_folder(tmp_path: Path) -> None:
    paint(tmp_path, "1/a.jpg", "12/a.jpg", "7/a.jpg")
    assert open_source("auto", str(tmp_path), domain="ier").name == "folder"
    paint(tmp_path / "some", "1/a.jpg", "7/a.jpg")
    assert open_source("auto", f"{tmp_path}/some", domain="ier").name == "folder"
    paint(tmp_path / "all", *(f"{n}/a.jpg" for n in range(1, 8)))
    with pytest.raises(SettingsError, match=r"taken for source 'raf_db', because its label fold"):
        open_source("auto", f"{tmp_path}/all", domain="ier")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("1", "surprise"),
        (" 01 ", "surprise"),
        ("1.0", "surprise"),
        ("Happy", "happy"),
        ("8", "unknown code '8'"),
        ("1.5", "unknown code '1.5'"),
        ("", "unknown code ''"),
        ("-1", "unknown code '-1'"),
    ],
)
def test_codes_are_whole_numbers(text: str, label: str) -> None:
    assert label_of_code(text, {1: "surprise"}) == label
