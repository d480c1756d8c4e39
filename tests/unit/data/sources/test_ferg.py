"""FERG-DB: characters and emotions in folder names."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sources import (
    assert_same_colors,
    colors,
    listing,
    litter,
    paint,
)

from ier_ray.data.sources import open_source


@pytest.mark.parametrize("inside", ["", "FERG_DB_256/"])
def test_ferg_groups_by_character(tmp_path: Path, inside: str) -> None:
    paths = [
        f"{inside}{path}"
        for path in (
            "aia/aia_anger/aia_anger_1.png",
            "aia/aia_joy/aia_joy_1.png",
            "bonnie/Bonnie_Sadness/b.png",
        )
    ]
    painted = paint(tmp_path, *paths)
    litter(tmp_path, f"{inside}aia/aia_anger")
    paint(tmp_path, f"{inside}aia/aia_anger.png", f"{inside}aia/mery_fear/x.png")  # not the layout
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("ferg", ("fer",))
    labels = [("anger", "aia"), ("joy", "aia"), ("sadness", "bonnie")]
    assert listing(source) == [(p, *rest) for p, rest in zip(sorted(paths), labels, strict=True)]
    assert_same_colors(colors(source), painted)
