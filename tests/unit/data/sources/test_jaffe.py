"""JAFFE: subjects and expressions in file names."""

from __future__ import annotations

from pathlib import Path

from support.sources import (
    colors,
    listing,
    litter,
    paint,
)

from ier_ray.data.sources import open_source


def test_jaffe_reads_its_file_names(tmp_path: Path) -> None:
    labels = {
        "KA.AN1.39.tiff": ("anger", "KA"),
        "KA.DI3.44.tiff": ("disgust", "KA"),
        "KL.FE2.175.tiff": ("fear", "KL"),
        "KL.HA1.158.tiff": ("happy", "KL"),
        "KM.NE1.17.tiff": ("neutral", "KM"),
        "YM.SU1.58.tiff": ("surprise", "YM"),
        "ym.sa2.56.TIFF": ("sad", "YM"),
    }
    painted = paint(tmp_path, *(f"jaffe/{name}" for name in labels))
    litter(tmp_path, "jaffe")
    (tmp_path / "jaffe/README").write_text("KA.AN1.39")
    paint(tmp_path, "jaffe/KA.XX1.39.tiff", "jaffe/mean.tiff")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("jaffe", ("fer",))
    assert listing(source) == [(f"jaffe/{name}", *labels[name]) for name in sorted(labels)]
    assert colors(source) == painted  # TIFF keeps every color
