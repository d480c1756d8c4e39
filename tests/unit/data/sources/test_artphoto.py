"""ArtPhoto: emotions in file names."""

from __future__ import annotations

from pathlib import Path

from support.sources import (
    assert_same_colors,
    colors,
    listing,
    litter,
    own,
    paint,
)

from ier_ray.data.sources import open_source


def test_artphoto_reads_its_file_names(tmp_path: Path) -> None:
    painted = paint(
        tmp_path,
        "testimages/Awe_0002.JPG",
        "testimages/amusement_0001.jpg",
        "testimages/sad_0003.jpg",
        "testimages/sadness_4_é.jpg",
    )
    litter(tmp_path, "testimages")
    paint(tmp_path, "testimages/happy_0001.jpg", "testimages/anger.jpg")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("artphoto", ("ier",))
    assert listing(source) == [
        (path, label, own(path, "artphoto"))
        for path, label in zip(painted, ["awe", "amusement", "sad", "sadness"], strict=True)
    ]
    assert_same_colors(colors(source), painted)
