"""Paths in tables, as other systems write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from support.sources import color_of, colors, listing, paint, sample_of

from ier_ray.data.sources import open_source
from ier_ray.data.sources.paths import locations_of
from ier_ray.errors import ImageError

NFC = unicodedata.normalize("NFC", "Müll/é.png")
NFD = unicodedata.normalize("NFD", NFC)


@pytest.mark.parametrize(
    ("on_disk", "named"),
    [
        ("img/a.png", r"img\a.png"),
        ("img/a.png", r".\img\a.png"),
        ("img/a.png", "./img//a.png"),
        ("img/a.png", "sub/../img/a.png"),
        (r"img\a.png", r"img\a.png"),
        (NFC, NFD),
        (NFD, NFC),
        (NFD, NFC.replace("/", "\\")),
        ("a b%20c.png", "a b%20c.png"),
        ("a.png", "~/a.png"),
        ("a b.png", "file://{root}/a%20b.png"),
        ("a%20b.png", "file://{root}/a%20b.png"),
        ("a.png", "file:{root}/a.png"),
        ("a.png", "FILE://localhost{root}/a.png"),
        ("é.png", "file://{root}/%C3%A9.png"),
        ("a.png", "{root}/a.png"),
    ],
)
def test_a_named_image_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: str, named: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    paint(tmp_path, on_disk)
    (tmp_path / "t.csv").write_text(f"path,label\n{named.format(root=tmp_path)},sad\n")
    source = open_source("table", f"{tmp_path}/t.csv", domain="ier")
    assert list(colors(source).values()) == [color_of(0)]


def test_spellings_of_one_path_are_one_sample(tmp_path: Path) -> None:
    paint(tmp_path, "img/é.png")
    names = (r"img\é.png", "img/é.png", unicodedata.normalize("NFD", "img/é.png"))
    rows = "".join(
        f"{name},{label}\n" for name, label in zip(names, ("Sad", "sadness", "sad"), strict=True)
    )
    (tmp_path / "t.csv").write_text(f"path,label\n{rows}")
    source = open_source("table", f"{tmp_path}/t.csv", domain="ier")
    assert [(path, label) for path, label, _ in listing(source)] == [(names[0], "Sad")]


@pytest.mark.parametrize("named", [r"C:\data\a.png", "~nobody/a.png", "a\0.png", "gone.png"])
def test_a_name_that_leads_nowhere_is_a_missing_image(tmp_path: Path, named: str) -> None:
    (tmp_path / "t.csv").write_text(f"path,label\n{named},sad\n")
    source = open_source("table", f"{tmp_path}/t.csv", domain="ier")
    with pytest.raises(ImageError, match="listed, but there is no such file") as raised:
        source.load("ier", sample_of(source, named))
    assert raised.value.reason == "missing"


def test_paths_below_a_folder_on_s3() -> None:
    assert locations_of("./img/../a.png", "s3://bucket/set")[0] == "s3://bucket/set/a.png"
    assert locations_of("s3://other/a.png", "s3://bucket/set") == ["s3://other/a.png"]
    assert locations_of(r"img\a.png", "s3://bucket/set") == [
        r"s3://bucket/set/img\a.png",
        "s3://bucket/set/img/a.png",
    ]
