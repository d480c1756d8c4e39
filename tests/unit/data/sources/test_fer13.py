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
