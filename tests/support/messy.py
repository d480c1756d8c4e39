"""A folder as users have it: all that goes wrong in files and names, in one."""

from __future__ import annotations

import io
import os
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from ier_ray.data.schema import LEFT_OUT, Manifest
from support.pictures import picture, saved

CASES = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Messy:
    """What must become of every file, by its path as it is printed."""

    kept: dict[str, str]
    """The class."""
    dropped: dict[str, str]
    """The label without a class."""
    quarantined: dict[str, str]
    """The reason."""
    skipped: dict[str, str]
    """The reason."""

    @property
    def listed(self) -> int:
        return sum(map(len, (self.kept, self.dropped, self.quarantined, self.skipped)))


def write_messy(root: Path) -> Messy:
    """Files of scheme ``four``, whose classes are ``happy``, ``sad``, ``hate`` and ``anger``."""
    numbers = iter(range(1000))

    def put(path: str, content: bytes) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)

    def shot(kind: str = "PNG") -> bytes:
        return saved(picture(next(numbers), side=64), kind)

    kept = {
        "Happy/1.jfif": ("happy", shot("JPEG")),
        "Happy/2.ppm": ("happy", shot("PPM")),
        "Happy/3.jp2": ("happy", shot("JPEG2000")),
        "Happy/no-suffix": ("happy", shot("WEBP")),
        "Happy/really_png.jpg": ("happy", shot()),
        "Happy/really_jpeg.txt": ("happy", shot("JPEG")),
        "Happy/orientation.jpg": ("happy", (CASES / "exif_srational.jpg").read_bytes()),
        "Happy/long text.png": ("happy", (CASES / "png_3MiB_text.png").read_bytes()),
        "joy/16 bits.png": ("happy", _sixteen_bits(next(numbers))),
        "HAPPINESS /deep/er/5.png": ("happy", shot()),
        "Sadness/1.avif": ("sad", shot("AVIF")),
        "sad/2.bmp": ("sad", shot("BMP")),
        unicodedata.normalize("NFD", "sad/é.png"): ("sad", shot()),
        "sad/3.gif": ("sad", shot("GIF")),
        "Disgusted/1.tif": ("hate", shot("TIFF")),
        "disgust/2.pgm": ("hate", shot("PPM")),
        "_Hate_/3.jpe": ("hate", shot("JPEG")),
        "ANGRY/1.png": ("anger", shot()),
        "anger/2.webp": ("anger", shot("WEBP")),
        "anger/3 with % and #?.png": ("anger", shot()),
    }
    dropped = {"Überrascht/1.png": "überrascht", "awe/1.png": "awe"}
    unreadable = {
        "sad/damaged.avif": ("truncated", (CASES / "damaged.avif").read_bytes()),
        "sad/strange.dds": ("unsupported", (CASES / "unknown_pixel_format.dds").read_bytes()),
        "sad/strange.png": ("unsupported", (CASES / "unknown_pixel_format.dds").read_bytes()),
        "sad/empty.png": ("empty", b""),
        "sad/page.jpg": ("unidentified", b"<html>not found</html>"),
    }
    others = {
        "README.md": ("not_an_image", b"# About"),
        "Happy/notes.csv": ("not_an_image", b"a,b"),
        "Happy/empty": ("not_an_image", b""),
        "Happy/clip.mp4": ("not_an_image", b"\0\0\0\x18ftypmp42"),
        "cover.png": ("outside_layout", shot()),
        "Happy/.DS_Store": ("system", b"\0"),
        "Happy/Thumbs.db": ("system", b"\0"),
        "Happy/._1.jfif": ("system", shot()),
        "__MACOSX/Happy/1.png": ("system", shot()),
        "Happy/@eaDir/1.jfif/thumb.jpg": ("system", shot("JPEG")),
    }
    for path, (_, content) in {**kept, **unreadable, **others}.items():
        put(path, content)
    for path in dropped:
        put(path, shot())
    (root / "Happy/again.png").symlink_to("really_png.jpg")
    (root / "sad/hard.gif").hardlink_to(root / "sad/3.gif")
    (root / "sad/gone.png").symlink_to("nowhere.png")
    (root / "sad/loop").symlink_to("..")
    (root / "up").symlink_to("..")
    shutil.copy(os.fsencode(root / "sad/2.bmp"), os.fsencode(root) + b"/sad/\xe9t\xe9.bmp")
    links = {
        "Happy/again.png": "link",
        "sad/hard.gif": "link",
        "sad/gone.png": "broken_link",
        r"sad/\xe9t\xe9.bmp": "unreadable_name",
    }
    return Messy(
        kept={path: label for path, (label, _) in kept.items()},
        dropped=dropped,
        quarantined={path: reason for path, (reason, _) in unreadable.items()},
        skipped={path: reason for path, (reason, _) in others.items()} | links,
    )


def _sixteen_bits(seed: int) -> bytes:
    gray = np.asarray(picture(seed, side=64).convert("L"), np.uint16) * 257
    content = io.BytesIO()
    Image.fromarray(gray).save(content, format="PNG")
    return content.getvalue()


def left_out(location: str) -> dict[str, tuple[str, str]]:
    """Outcome and reason of everything that is in no shard."""
    rows = pq.read_table(f"{location}/{LEFT_OUT}").to_pylist()
    assert all(row["detail"] for row in rows)
    found = {row["sample_id"]: (row["outcome"], row["reason"]) for row in rows}
    assert len(found) == len(rows)
    return found


def named(location: str, manifest: Manifest) -> dict[str, str]:
    """Class of each row by its id."""
    tables = [pq.read_table(f"{location}/{shard.file}") for shard in manifest.shards]
    rows = [row for table in tables for row in table.to_pylist()]
    return {row["sample_id"]: row["label"] for row in rows}


def assert_all_accounted(location: str, manifest: Manifest, expected: Messy) -> None:
    assert named(location, manifest) == {f"folder/{p}": c for p, c in expected.kept.items()}
    found = left_out(location)
    for outcome, reasons in (
        ("dropped", expected.dropped),
        ("quarantined", expected.quarantined),
        ("skipped", expected.skipped),
    ):
        assert {path: reason for path, (what, reason) in found.items() if what == outcome} == {
            f"folder/{path}": reason for path, reason in reasons.items()
        }
    quarantined, skipped = len(manifest.quarantined), sum(manifest.skipped.values())
    dropped = sum(manifest.dropped.values())
    assert manifest.listed == manifest.rows + dropped + quarantined + skipped == expected.listed
