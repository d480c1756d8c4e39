"""Folders named for labels of any kind."""

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


def test_folder_takes_any_labels(tmp_path: Path) -> None:
    painted = paint(
        tmp_path, "Joie/deep/er/1.png", "joie/2.bmp", "穏やか/3.gif", "mixed/4.webp", "mixed/5.tif"
    )
    litter(tmp_path, "joie")
    paint(tmp_path, "no-label.png")
    source = open_source("auto", str(tmp_path), domain="ier")
    assert (source.name, source.domains) == ("folder", ("ier",))
    labels = ["joie", "joie", "mixed", "mixed", "穏やか"]
    assert listing(source) == [
        (path, label, own(path, "folder"))
        for path, label in zip(sorted(painted), labels, strict=True)
    ]
    assert_same_colors(colors(source), painted)
    assert open_source("folder", str(tmp_path), domain="fer").domains == ("fer",)
