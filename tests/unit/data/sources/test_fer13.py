"""FER2013: the table of pixels, and folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.sources import (
    assert_same_colors,
    colors,
    listing,
    litter,
    own,
    paint,
    sample_of,
    samples_of,
)

from ier_ray.data.images import decode_rgb
from ier_ray.data.sources import open_source
from ier_ray.errors import DataError, ImageError


def write_fer13(root: Path, header: str = "emotion,pixels,Usage", newline: str = "\n") -> None:
    gray = " ".join(["70"] * 2303)
    rows = [
        f"0,{gray} 80,Training",
        f"3,{gray} 90,PublicTest",
        "",
        "4,1 2 3,PublicTest",  # truncated
        f"6,{gray} 300,PrivateTest",
        f"9,{gray} x,PrivateTest",
    ]
    (root / "fer2013.csv").write_bytes(newline.join([header, *rows, ""]).encode())


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_fer13_rows_become_images(tmp_path: Path, newline: str) -> None:
    write_fer13(tmp_path, newline=newline)
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("fer13", ("fer",))
    assert listing(source) == [
        (f"fer2013.csv:{row}", label, f"fer13/fer2013.csv:{row}")
        for row, label in enumerate(["angry", "happy", "sad", "neutral", "unknown code '9'"])
    ]
    for row, last in ((0, 80), (1, 90)):
        image = decode_rgb(source.load("fer", sample_of(source, f":{row}")).image)
        assert image.size == (48, 48)
        expected = np.full((48, 48, 3), 70)
        expected[47, 47] = last
        np.testing.assert_array_equal(np.asarray(image), expected)
    for row, reason, message in (
        (2, "truncated", "3 pixels, a face has 48x48"),
        (3, "unidentified", "70..300, not 0..255"),
        (4, "unidentified", "not numbers"),
    ):
        with pytest.raises(ImageError, match=message) as raised:
            source.load("fer", sample_of(source, f":{row}"))
        assert raised.value.reason == reason


def test_fer13_finds_its_columns(tmp_path: Path) -> None:
    gray = " ".join(["5"] * 2304)
    table = tmp_path / "archive" / "fer2013.csv"
    table.parent.mkdir()
    table.write_text(f"\ufeffemotion, Usage, pixels\n5,Training,{gray}\n1,Training\n")
    source = open_source("fer13", str(tmp_path))
    assert [label for _, label, _ in listing(source)] == ["surprise", "disgust"]
    assert (
        decode_rgb(source.load("fer", sample_of(source, ":0")).image).getpixel((0, 0)) == (5,) * 3
    )
    with pytest.raises(ImageError, match="0 pixels"):
        source.load("fer", sample_of(source, ":1"))
    table.write_text("emotion,Usage\n5,Training\n")
    with pytest.raises(DataError, match=r"needs the columns emotion and pixels, has \['emotion'"):
        listing(source)


def test_fer13_folders(tmp_path: Path) -> None:
    painted = paint(
        tmp_path, "test/fear/a.jpg", "train/Angry/1.jpg", "train/Angry/2.JPG", "train/neutral/ü.png"
    )
    litter(tmp_path, "train/Angry")
    source = open_source("auto", str(tmp_path))
    assert source.name == "fer13"
    assert listing(source) == [
        (path, label, own(path, "fer13"))
        for path, label in zip(sorted(painted), ["fear", "angry", "angry", "neutral"], strict=True)
    ]
    assert_same_colors(colors(source), painted)


@pytest.mark.parametrize(
    ("name", "header", "row"),
    [
        ("icml_face_data.csv", "emotion, Usage, pixels", "3,PrivateTest,{}"),
        ("icml_face_data.csv", "emotion, pixels, Usage", "3.0, {}, PrivateTest"),
        ("fer2013.csv", '"emotion","pixels","Usage"', '"3","{}","PrivateTest"'),
        ("fer2013.csv", "Emotion;Pixels;USAGE", " 3 ;{};privatetest"),
        ("data/faces.csv", "\ufeffemotion\tpixels\tUsage", "3\t{}\tPrivateTest"),
        ("train.csv", "id,note,emotion,pixels,Usage", '7,"a, ""b""\nc é",happy,{},Test'),
        ("fer2013.csv", "emotion,pixels,Usage", "3,{}  ,PrivateTest"),
    ],
)
def test_fer13_tables_in_the_wild(tmp_path: Path, name: str, header: str, row: str) -> None:
    table = tmp_path / name
    table.parent.mkdir(exist_ok=True)
    faces = (" ".join([str(gray)] * 2304) for gray in (5, 6))
    lines = [header, *(row.format(face) for face in faces)]
    table.write_text("\r\n".join([*lines, ""]), encoding="utf-8", newline="")
    for path in (tmp_path, table):
        source = open_source("auto", str(path))
        assert source.name == "fer13"
        found = [(s.source_label, s.split) for s in samples_of(source)]
        assert found == [("happy", "test")] * 2
        assert list(colors(source).values()) == [(5, 5, 5), (6, 6, 6)]


def test_fer13_tables_that_cannot_be_read(tmp_path: Path) -> None:
    table = tmp_path / "fer2013.csv"
    gray = " ".join(["5.0"] * 2304)
    table.write_text(f"emotion,pixels\n3,{gray}\n0,{gray.replace('5.0', '5.5')}\n")
    source = open_source("auto", str(tmp_path))
    assert decode_rgb(source.load("fer", sample_of(source, ":0")).image).size == (48, 48)
    with pytest.raises(ImageError, match=r"pixels of 5\.5\.\.5\.5, not 0\.\.255 in whole"):
        source.load("fer", sample_of(source, ":1"))
    for content, message in (
        (
            f"emotion,pixels\n3,{gray}\n".encode("utf-16"),
            "a text in UTF-16; save the file as UTF-8",
        ),
        ("emotion,pixels,é\n".encode("latin-1"), "not a text in UTF-8, which was tried: byte 15"),
        (f'emotion,pixels\n3,"{gray}\n'.encode(), r"line \d+: unexpected end of data"),
        (b"", "needs the columns emotion and pixels"),
    ):
        table.write_bytes(content)
        with pytest.raises(DataError, match=rf"fer2013\.csv: {message}"):
            samples_of(source)


def test_fer13_copies_name_their_folders_otherwise(tmp_path: Path) -> None:
    paths = ("images/Training/Angry/1.jpg", "images/PublicTest/Happiness/2.jpg")
    paint(tmp_path, *paths, "images/PrivateTest/joyful/3.jpg")
    source = open_source("auto", str(tmp_path))
    assert source.name == "fer13"
    found = [(s.source_label, s.split) for s in samples_of(source)]
    assert found == [("joyful", "test"), ("happiness", "val"), ("angry", "train")]
