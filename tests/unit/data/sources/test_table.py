"""Tables: CSV of paths, Parquet of paths or of bytes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.sources import (
    assert_same_colors,
    color_of,
    colors,
    encoded,
    listing,
    paint,
    sample_of,
    samples_of,
)

from ier_ray.data.images import decode_rgb
from ier_ray.data.sources import open_source
from ier_ray.errors import DataError, ImageError


def test_table_of_paths(tmp_path: Path) -> None:
    painted = paint(tmp_path / "here", "pictures/ä.png", "b.png")
    paint(tmp_path / "elsewhere", "c.png", "d.png")
    away, uri = f"{tmp_path}/elsewhere/c.png", f"file://{tmp_path}/elsewhere/d.png"
    rows = [
        "path;label;group",
        "pictures/ä.png;joy;s1",
        f"{away};fear;s2",
        f"{uri};fear;s2",
        "b.png;sad;",
        "b.png;happy;",
        "gone.png;joy;s1",
        ";joy;",
    ]
    (tmp_path / "here/samples.csv").write_text("\n".join(rows))
    source = open_source("auto", f"{tmp_path}/here", domain="fer")
    assert source == open_source("table", f"{tmp_path}/here/samples.csv", domain="fer")
    assert source.domains == ("fer",)
    assert listing(source) == [
        ("pictures/ä.png", "joy", "s1"),
        (away, "fear", "s2"),
        (uri, "fear", "s2"),
        ("b.png", "happy | sad", "table/b.png"),
        ("gone.png", "joy", "s1"),
        ("(no path in row 6)", "joy", "table/(no path in row 6)"),
    ]
    for ending in ("gone.png", "row 6)"):
        with pytest.raises(ImageError, match="no such file"):
            source.load("fer", sample_of(source, ending))
    (tmp_path / "here/samples.csv").write_text("\n".join(rows[:5]))
    assert_same_colors(colors(source), {**painted, away: color_of(0), uri: color_of(1)})


def test_table_ids_are_taken_as_they_are(tmp_path: Path) -> None:
    paint(tmp_path, "a.png")
    (tmp_path / "t.tsv").write_text("id\tpath\tlabel\n0\ta.png\tsad\n0\ta.png\tsad\n")
    source = open_source("auto", str(tmp_path), domain="ier")
    samples = samples_of(source)  # ingest rejects the duplicate id
    assert [(s.sample_id, s.group) for s in samples] == [("table/0", "table/0")] * 2


def test_parquet_of_bytes_and_of_paths(tmp_path: Path) -> None:
    table = {
        "bytes": [encoded(color_of(number)) for number in range(5)] + [None],
        "label": [0, 1, 2, 3, 4, None],
        "group": [0, 0, None, 1, 1, 1],
        "id": [0, 1, 2, 3, None, 5],
    }
    pq.write_table(pa.table(table), tmp_path / "t.parquet", row_group_size=2)
    source = open_source("auto", f"{tmp_path}/t.parquet", domain="ier")
    assert listing(source) == [
        ("0", "0", "0"),
        ("1", "1", "0"),
        ("2", "2", "table/2"),
        ("3", "3", "1"),
        ("2:0", "4", "1"),
        ("5", "", "1"),
    ]
    samples = samples_of(source)
    assert [sample.locator for sample in samples] == ["0:0", "0:1", "1:0", "1:1", "2:0", "2:1"]
    for number in (4, 0, 3, 1, 2):
        loaded = decode_rgb(source.load("ier", samples[number]).image)
        assert loaded.getpixel((0, 0)) == color_of(number)
    with pytest.raises(ImageError, match="no bytes"):
        decode_rgb(source.load("ier", samples[5]).image)
    table["bytes"] = [encoded(color_of(20 + number)) for number in range(6)]
    pq.write_table(pa.table(table), tmp_path / "t.parquet", row_group_size=2)
    changed = decode_rgb(source.load("ier", samples[4]).image)
    assert changed.getpixel((0, 0)) == color_of(24)  # a new file of the same name
    painted = paint(tmp_path, "x/1.png")
    pq.write_table(pa.table({"path": ["x/1.png"], "label": ["awe"]}), tmp_path / "t.parquet")
    assert listing(source) == [("x/1.png", "awe", "table/x/1.png")]
    assert_same_colors(colors(source), painted)


def test_tables_without_their_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label\na.png,sad\n")
    with pytest.raises(DataError, match=r"t.csv: lacks the columns \['path'\], has \['image', 'l"):
        listing(open_source("table", str(tmp_path), domain="ier"))
    (tmp_path / "t.csv").rename(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: cannot be read as Parquet"):
        listing(open_source("table", str(tmp_path), domain="ier"))
    pq.write_table(pa.table({"bytes": [b""]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: lacks the columns \['label'\]"):
        listing(open_source("table", str(tmp_path), domain="ier"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_tables_in_unicode_are_read(tmp_path: Path, encoding: str) -> None:
    painted = paint(tmp_path, "é.png")
    text = '"Path";"LABEL"\n"é.png";"träurig"\n'
    content = text.encode(encoding.removesuffix("-bom"))
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe" + content if "bom" in encoding else content)
    source = open_source("auto", str(tmp_path), domain="ier")
    assert listing(source) == [("é.png", "träurig", "table/é.png")]
    assert_same_colors(colors(source), painted)


def test_tables_in_other_encodings_name_the_one_that_was_tried(tmp_path: Path) -> None:
    text = "path,label\na.png,sad\né.png,sad\n"
    for content, tried in (
        (text.encode("latin-1"), r"UTF-8, which was tried: byte 21 \(0xe9, line 3\)"),
        (b"\xff\xfe" + text.encode("utf-16-le")[:-1], "UTF-16, which was tried"),
    ):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(DataError, match=rf"t\.csv: not a text in {tried}") as raised:
            listing(open_source("auto", str(tmp_path), domain="ier"))
        assert "\n" not in str(raised.value)
