"""IAPSa: images and a table of labels."""

from __future__ import annotations

import unicodedata
from pathlib import Path

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

from ier_ray.data.sources import open_source
from ier_ray.errors import DataError, ImageError

IAPSA_IMAGES = ("images/1050.jpg", "images/2055.1.JPG", "images/Müll.jpg", "images/7000.jpg")


@pytest.mark.parametrize(
    ("table", "separator", "header"),
    [
        ("labels.csv", ",", "Image,Emotion"),
        ("labels.tsv", "\t", "slide\tCategory"),
        ("iaps.csv", ";", "\ufeffID;label"),
    ],
)
def test_iapsa_joins_its_table(tmp_path: Path, table: str, separator: str, header: str) -> None:
    painted = paint(tmp_path, *IAPSA_IMAGES)
    litter(tmp_path, "images")
    decomposed = unicodedata.normalize("NFD", "MÜLL.JPG")
    rows = [("1050", "Fear"), ("2055.1", "sad"), ("1050.BMP", "fear"), (decomposed, "Disgust")]
    rows += [("4321.jpg", "awe"), ("", "awe"), ("images/7000.jpg", "awe"), ("7000", "amusement")]
    lines = [header, *(separator.join(row) for row in rows), "", separator]
    (tmp_path / table).write_text("\n".join(lines), encoding="utf-8")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("iapsa", ("ier",))
    labels = {
        "(no name)": "awe",
        "4321.jpg": "awe",
        "images/1050.jpg": "fear",
        "images/2055.1.JPG": "sad",
        "images/7000.jpg": "amusement | awe",  # rows disagree: no scheme has this label
        "images/Müll.jpg": "disgust",
    }
    assert listing(source) == [(p, label, own(p, "iapsa")) for p, label in labels.items()]
    for name in ("4321.jpg", "(no name)"):
        with pytest.raises(ImageError, match="no such file") as raised:
            source.load("ier", sample_of(source, name))
        assert raised.value.reason == "missing"
    (tmp_path / table).write_text("\n".join(lines).replace("4321.jpg", "").replace(lines[6], ""))
    assert_same_colors(colors(source), painted)


def test_iapsa_needs_one_table_with_its_columns(tmp_path: Path) -> None:
    paint(tmp_path, "beach.jpg")  # no number: only the table tells that it is IAPSa
    (tmp_path / "labels.csv").write_text("image,emotion\nbeach,awe\n")
    source = open_source("iapsa", str(tmp_path))
    assert listing(source) == [("beach.jpg", "awe", "iapsa/beach.jpg")]
    (tmp_path / "ratings.csv").write_text("image,valence\nbeach,3\n")
    assert len(listing(source)) == 1
    (tmp_path / "more.csv").write_text("file,label\nbeach,awe\n")
    with pytest.raises(DataError, match=r"needs one label table .* has \['labels.csv', 'more.csv'"):
        listing(source)
    (tmp_path / "more.csv").write_bytes("file,label\nplage,d\xe9go\xfbt\n".encode("latin-1"))
    with pytest.raises(
        DataError, match=r"more.csv: not a text in UTF-8, which was tried: byte 18 "
    ):
        listing(source)
    (tmp_path / "more.csv").write_text('file,label\n"beach,awe\n')
    with pytest.raises(DataError, match=r"more.csv: not a table"):
        listing(source)
