"""Which files of a folder are images, and why the others are none."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from support.sources import encoded, listing, paint, samples_of, skipped_of

from ier_ray.data.images import decode_rgb
from ier_ray.data.sources import open_source
from ier_ray.data.sources.folders import is_system

FORMATS = {
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".JPG_orig": "JPEG",
    ".avif": "AVIF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".jp2": "JPEG2000",
    ".qoi": "QOI",
    ".tga": "TGA",
    ".txt": "PNG",
    ".html": "GIF",
    "": "WEBP",
    ".2055.1": "BMP",
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_images_are_known_by_their_content(tmp_path: Path, suffix: str) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (8, 6), "teal").save(picture, format=FORMATS[suffix])
    (tmp_path / "happy").mkdir()
    (tmp_path / f"happy/x{suffix}").write_bytes(picture.getvalue())
    source = open_source("folder", str(tmp_path), domain="fer")
    assert skipped_of(source) == {}
    (sample,) = samples_of(source)
    assert sample.sample_id == f"folder/happy/x{suffix}"
    assert decode_rgb(source.load("fer", sample).image).size == (8, 6)


def test_a_file_with_an_images_suffix_is_a_sample_whatever_it_holds(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    names = ("a.heic", "b.JPEG", "c.avif", "d.png")
    for name in names:
        (tmp_path / "happy" / name).write_bytes(b"" if name < "c" else b"no image")
    source = open_source("folder", str(tmp_path), domain="fer")
    assert [path for path, _, _ in listing(source)] == [f"happy/{name}" for name in names]


SYSTEM = (
    "happy/.DS_Store",
    "happy/Thumbs.db",
    "happy/thumbs.DB",
    "happy/desktop.ini",
    "happy/._1.png",
    "happy/.hidden.png",
    "__MACOSX/happy/1.png",
    "happy/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
    ".ipynb_checkpoints/happy/1.png",
    ".git/objects/1.png",
    "$RECYCLE.BIN/1.png",
    "lost+found/1.png",
    "happy/Icon\r",
)


def test_everything_that_is_no_sample_is_named_with_its_reason(tmp_path: Path) -> None:
    paint(tmp_path, "happy/1.png", "top.png")
    for path in SYSTEM:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "top.png", tmp_path / path)
    (tmp_path / "README").write_text("about")
    (tmp_path / "happy/empty").touch()
    (tmp_path / "happy/notes.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "happy/2.png").symlink_to("1.png")
    (tmp_path / "happy/loop").symlink_to("..")
    (tmp_path / "happy/gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "happy/pipe.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/happy/\xff.png")).write_bytes(encoded((1, 2, 3)))
    source = open_source("auto", str(tmp_path), domain="fer")
    assert [path for path, _, _ in listing(source)] == ["happy/1.png"]
    assert skipped_of(source) == {
        **dict.fromkeys(SYSTEM, "system"),
        "README": "not_an_image",
        "happy/2.png": "link",
        "happy/empty": "not_an_image",
        "happy/gone.png": "broken_link",
        "happy/notes.pdf": "not_an_image",
        "happy/pipe.png": "not_a_file",
        r"happy/\xff.png": "unreadable_name",
        "top.png": "outside_layout",
    }


def test_system_files_are_no_names_of_people() -> None:
    assert not any(
        map(is_system, ("happy/1.png", "thumbs/db.png", "a.b/c", "cvs.png", "x__MACOSX"))
    )
