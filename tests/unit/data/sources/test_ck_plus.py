"""CK+: sequences whose last frames are labeled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.sources import (
    Color,
    colors,
    listing,
    litter,
    paint,
    sample_of,
    samples_of,
    skipped_of,
)

from ier_ray.data.sources import open_source
from ier_ray.emotions import FOUR, SEVEN
from ier_ray.errors import ImageError


def write_ck_plus(root: Path) -> dict[str, Color]:
    frames = {("S005", "001"): 5, ("S010", "002"): 2, ("S011", "001"): 4, ("S022", "003"): 3}
    codes = {
        ("S005", "001"): "   3.0000000e+00\n",
        ("S010", "002"): "   5.0000000e+00\n",  # two frames
        ("S022", "003"): "   2.0000000e+00\n",  # contempt; S011 has no label
        ("S099", "001"): "   7.0000000e+00\n",  # no frames
        ("S100", "001"): "   0.5\n",
        ("S101", "001"): "",
    }
    painted = paint(
        root,
        *(
            f"cohn-kanade-images/{s}/{q}/{s}_{q}_{frame:08d}.png"
            for (s, q), count in frames.items()
            for frame in range(1, count + 1)
        ),
    )
    for (s, q), code in codes.items():
        folder = root / "Emotion" / s / q
        folder.mkdir(parents=True)
        (folder / f"{s}_{q}_{frames.get((s, q), 9):08d}_emotion.txt").write_text(code)
    (root / "Emotion/S011/001").mkdir(parents=True)
    litter(root, "cohn-kanade-images/S005/001", "Emotion/S005/001")
    return painted


def test_ck_plus_takes_the_last_three_frames_of_labeled_sequences(tmp_path: Path) -> None:
    painted = write_ck_plus(tmp_path)
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("ck_plus", ("fer",))
    expected = [
        *(("S005", "001", frame, "disgust") for frame in (3, 4, 5)),
        *(("S010", "002", frame, "happy") for frame in (1, 2)),
        *(("S022", "003", frame, "contempt") for frame in (1, 2, 3)),
        ("S099", "001", 9, "surprise"),
        ("S100", "001", 9, "unknown code '0.5'"),
        ("S101", "001", 9, "unknown code ''"),
    ]
    assert listing(source) == [
        (f"cohn-kanade-images/{s}/{q}/{s}_{q}_{frame:08d}.png", label, s)
        for s, q, frame, label in expected
    ]
    assert FOUR.class_of("contempt") is SEVEN.class_of("contempt") is None
    with pytest.raises(ImageError, match="listed, but there is no such file") as raised:
        source.load("fer", sample_of(source, "S099_001_00000009.png"))
    assert raised.value.reason == "missing"
    shutil.rmtree(tmp_path / "Emotion/S099")
    shutil.rmtree(tmp_path / "Emotion/S100")
    shutil.rmtree(tmp_path / "Emotion/S101")
    found = colors(source)
    assert found == {path: painted[path] for path in found}
    assert len(found) == 8


@pytest.mark.parametrize("around", ["", "CK+48/", "CK+48/train/"])
def test_ck48_keeps_the_frames_of_a_person_together(tmp_path: Path, around: str) -> None:
    paths = (
        f"{around}anger/S010_004_00000017.png",
        f"{around}anger/S010_004_00000018.png",
        f"{around}happy/S010_006_00000015.png",
        f"{around}contempt/s138_008_00000009.PNG",
    )
    painted = paint(tmp_path, *paths, f"{around}happy/other.png")
    for name in ("auto", "ck_plus"):
        source = open_source(name, str(tmp_path))
        assert (source.name, source.domains) == ("ck_plus", ("fer",))
        assert listing(source) == [
            (paths[0], "anger", "S010"),
            (paths[1], "anger", "S010"),
            (paths[3], "contempt", "S138"),
            (paths[2], "happy", "S010"),
        ]
        assert {s.split for s in samples_of(source)} == {"train" if "train" in around else None}
        assert skipped_of(source) == {f"{around}happy/other.png": "outside_layout"}
        assert colors(source) == {path: painted[path] for path in paths}
