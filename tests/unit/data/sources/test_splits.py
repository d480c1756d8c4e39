"""The datasets' own parts for training, validation and testing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat
from support.emotic import cells, image, ratings, structs, trained
from support.sources import encoded, paint, samples_of

from ier_ray.data.sources import Source, open_source
from ier_ray.data.sources.splits import most_held_out, split_called
from ier_ray.errors import DataError


def parts(source: Source) -> dict[str, tuple[str, str | None]]:
    """Label and part of each sample, by its id without the dataset's name."""
    start = len(source.name) + 1
    return {s.sample_id[start:]: (s.source_label, s.split) for s in samples_of(source)}


def write_table(path: Path, rows: Iterable[str]) -> str:
    path.write_text("\n".join(["path,label,split", *rows]))
    return str(path)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ("train", "Training", " TRAIN ")),
        ("val", ("val", "valid", "Validation", "dev", "PublicTest")),
        ("test", ("test", "testing", "PrivateTest", "TEST")),
        (None, ("", "happy", "trainset")),
    ],
)
def test_parts_have_synonyms_in_any_case(split: str | None, names: tuple[str, ...]) -> None:
    assert {split_called(name) for name in names} == {split}


def test_the_most_held_out_part_is_test_then_val_then_train() -> None:
    assert most_held_out(["train", None, "test", "val"]) == "test"
    assert most_held_out([None, "val", "train"]) == "val"
    assert most_held_out([None]) is None


def test_fer13_usage_and_folders(tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.mkdir()
    gray = " ".join(["70"] * 2304)
    usages = ("Training", "PublicTest", "PrivateTest", "")
    lines = [f"3,{usage},{gray}" for usage in usages]
    (table / "fer2013.csv").write_text("\n".join(["emotion,Usage,pixels", *lines]))
    source = open_source("auto", str(table))
    assert [split for _, split in parts(source).values()] == ["train", "val", "test", None]
    assert all(len(source.load("fer", s).image) > 60 for s in samples_of(source))
    (table / "fer2013.csv").write_text(f"emotion,pixels\n3,{gray}")
    assert parts(source) == {"fer2013.csv:0": ("happy", None)}
    (table / "fer2013.csv").write_text(f"emotion,pixels,Usage\n3,{gray},Training\n3,{gray},Spare")
    with pytest.raises(DataError, match="row 1 has split 'Spare'; use one of"):
        parts(source)
    paths = ("train/happy/1.png", "Test/sad/2.png", "validation/fear/3.png")
    paint(tmp_path / "folders", *paths)
    assert parts(open_source("fer13", f"{tmp_path}/folders")) == {
        "train/happy/1.png": ("happy", "train"),
        "Test/sad/2.png": ("sad", "test"),
        "validation/fear/3.png": ("fear", "val"),
    }


def test_folders_of_parts_hold_the_labels(tmp_path: Path) -> None:
    paint(tmp_path, "Train/Joie/a/1.png", "test/joie/2.png", "val/triste/3.png", "cover.png")
    source = open_source("folder", str(tmp_path), domain="ier")
    assert parts(source) == {
        "Train/Joie/a/1.png": ("joie", "train"),
        "test/joie/2.png": ("joie", "test"),
        "val/triste/3.png": ("triste", "val"),
    }
    paint(tmp_path, "calme/4.png")  # outside of the parts
    assert parts(source)["Train/Joie/a/1.png"] == ("joie", "train")
    assert parts(source)["calme/4.png"] == ("calme", None)


def test_fi_in_folders_of_parts(tmp_path: Path) -> None:
    paint(tmp_path, "train/awe/1.jpg", "fear/2.jpg", "x/test/sad/3.jpg")
    assert parts(open_source("auto", str(tmp_path))) == {
        "train/awe/1.jpg": ("awe", "train"),
        "fear/2.jpg": ("fear", None),
        "x/test/sad/3.jpg": ("sad", "test"),
    }


def test_emotic_parts_and_an_image_in_two_of_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    happy = trained(cells("Happiness"), ratings(8, 6, 7))

    quiet = trained(cells("Engagement"), ratings(5, 5, 5))

    def entry(name: str) -> dict[str, object]:
        return image("mscoco/images", name, happy)

    savemat(
        tmp_path / "Annotations.mat",
        {
            "train": structs(entry("a.jpg"), entry("b.jpg"), entry("c.jpg")),
            "val": structs(image("", "d.jpg", quiet), entry("b.jpg")),
            "test": structs(entry("c.jpg"), entry("e.jpg")),
        },
    )
    found = parts(open_source("auto", str(tmp_path)))
    assert {path[-5]: split for path, (_, split) in found.items()} == {
        "a": "train",
        "b": "val",
        "c": "test",
        "d": "val",
        "e": "test",
    }
    decided = "EMOTIC: the vote decided 4 images and left 1 without an emotion"
    assert decided in caplog.messages


def test_table_has_a_column_of_parts(tmp_path: Path) -> None:
    rows = ["a.png,joy,Training", "b.png,joy,dev", "c.png,joy,", "d.png,sad,TEST"]
    source = open_source("table", write_table(tmp_path / "t.csv", rows), domain="ier")
    splits = {path: split for path, (_, split) in parts(source).items()}
    assert splits == {"a.png": "train", "b.png": "val", "c.png": None, "d.png": "test"}
    write_table(tmp_path / "t.csv", [*rows, "e.png,joy,later"])
    with pytest.raises(DataError, match=r"t\.csv: row 4 has split 'later'; use one of \['train'"):
        parts(source)
    write_table(tmp_path / "t.csv", [*rows, "a.png,joy,test"])
    with pytest.raises(DataError, match=r"row 4 has split test, but an earlier row of 'a\.png'"):
        parts(source)


def test_parquet_has_a_column_of_parts(tmp_path: Path) -> None:
    columns = {"bytes": [encoded((9, 9, 9))] * 2, "label": ["sad"] * 2, "split": ["valid", None]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    source = open_source("table", f"{tmp_path}/t.parquet", domain="ier")
    assert parts(source) == {"0:0": ("sad", "val"), "0:1": ("sad", None)}
