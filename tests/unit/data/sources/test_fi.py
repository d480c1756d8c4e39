"""FI: emotions as folders."""

from __future__ import annotations

from pathlib import Path

from support.sources import (
    assert_same_colors,
    colors,
    listing,
    litter,
    paint,
)

from ier_ray.data.sources import open_source


def test_fi_reads_its_folders(tmp_path: Path) -> None:
    painted = paint(
        tmp_path, "Contentment/1.jpg", "anger/10.jpg", "anger/9.jpg", "sadness/花.jpg", "sad/2.jpg"
    )
    litter(tmp_path, "anger")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("fi", ("ier",))
    assert listing(source) == [
        ("Contentment/1.jpg", "contentment", "fi/Contentment/1.jpg"),
        ("anger/10.jpg", "anger", "fi/anger/10.jpg"),
        ("anger/9.jpg", "anger", "fi/anger/9.jpg"),
        ("sad/2.jpg", "sad", "fi/sad/2.jpg"),
        ("sadness/花.jpg", "sadness", "fi/sadness/花.jpg"),
    ]
    assert_same_colors(colors(source), painted)
