"""Whatever decoders raise is an ImageError, whose reason follows from what happened."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.image_files import picture, saved, tiff, variants

from ier_ray.data.image_formats import READ_FORMATS, recognized_format
from ier_ray.data.images import MAX_SCANS, decode_mask, decode_rgb
from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.samples import images_from_shards
from ier_ray.data.shards import RowReader, ShardSet
from ier_ray.data.sources import open_source
from ier_ray.emotions import FOUR
from ier_ray.errors import DataError, ImageError

CASES = Path(__file__).parents[2] / "data"
TESTS = Path(__file__).parents[2]
FILES = variants()
FUZZED = int(os.environ.get("IER_RAY_FUZZED_FILES", "1600"))
"""Mutated files to decode; the whole test takes 160000."""


def reason_of(content: bytes, *, max_pixels: int = 100_000) -> str:
    with pytest.raises(ImageError) as caught:
        decode_rgb(content, max_pixels=max_pixels)
    return caught.value.reason


def test_there_are_files_of_every_format() -> None:
    untested = {"HEIF"} if importlib.util.find_spec("pillow_heif") is None else set()
    assert set(FILES) == set(READ_FORMATS) - untested
    for name, files in FILES.items():
        assert {recognized_format(file) for file in files} == {name}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_truncated_file_is_called_truncated(name: str) -> None:
    for file in FILES[name]:
        for length in (len(file) // 4, len(file) // 2, len(file) * 3 // 4):
            try:
                decode_rgb(file[:length])
            except ImageError as error:
                assert error.reason == "truncated", (length, str(error))  # noqa: PT017
            else:  # the first of several pictures may be whole
                assert len(file) > 1.3 * length


@pytest.mark.parametrize("length", [32, 33, 40, 300])
def test_an_avif_may_be_cut_anywhere(length: int) -> None:
    assert reason_of(FILES["AVIF"][0][:length]) == "truncated"


@pytest.mark.parametrize("cut", [20, 100, 500])
def test_a_tiff_that_begins_with_its_tags_is_truncated_when_its_strips_are(cut: int) -> None:
    file = saved(picture(), "TIFF", compression="tiff_lzw")
    directory = struct.unpack_from("<I", file, 4)[0]
    assert directory > 500  # libtiff writes the tags last, so they are copied to the beginning
    tags, shift = bytearray(file[directory:]), len(file) - directory
    for entry in range(2, 2 + 12 * struct.unpack_from("<H", tags)[0], 12):
        tag, kind, count, value = struct.unpack_from("<HHII", tags, entry)
        if tag == 273 or (count * {2: 1, 3: 2, 4: 4, 5: 8}[kind] > 4):
            moved = value - directory + 8 if value > directory else value + shift
            struct.pack_into("<I", tags, entry + 8, moved)
    moved_file = file[:4] + struct.pack("<I", 8) + bytes(tags) + file[8:directory]
    np.testing.assert_array_equal(decode_rgb(moved_file), picture())
    assert reason_of(moved_file[:-cut]) == "truncated"


def test_bytes_that_were_changed_are_damaged() -> None:
    jpeg = bytearray(saved(picture(), "JPEG"))
    tables = jpeg.index(b"\xff\xc4")
    jpeg[tables + 4 : tables + 21] = b"\xff" * 17
    assert reason_of(bytes(jpeg)) == "damaged"
    png = bytearray(saved(picture(), "PNG"))
    png[png.index(b"IHDR") + 8] ^= 1
    assert reason_of(bytes(png)) == "damaged"
    webp = bytearray(saved(picture(), "WEBP"))
    webp[20:40] = bytes(20)
    assert reason_of(bytes(webp)) == "damaged"


@pytest.mark.parametrize(
    ("file", "reason", "detail"),
    [
        ("damaged.avif", "truncated", "AVIF image cannot be decoded: .*image item"),
        ("unknown_pixel_format.dds", "unsupported", "DDS image.*pixel format 1515870810"),
    ],
)
def test_errors_that_escaped(file: str, reason: str, detail: str) -> None:
    content = (CASES / file).read_bytes()
    with pytest.raises(ImageError, match=detail) as caught:
        decode_rgb(content)
    assert caught.value.reason == reason
    with pytest.raises(ImageError, match=detail):
        decode_mask(content, 8)


def test_kinds_that_pillow_does_not_read_are_unsupported() -> None:
    halves = np.ones((4, 4), np.float16)
    with pytest.raises(ImageError, match="unknown pixel mode") as caught:
        decode_rgb(tiff(halves))
    assert caught.value.reason == "unsupported"


def test_heic_without_its_library_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"pip install 'ier_ray\[heif\]'") as caught:
        decode_rgb(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    assert caught.value.reason == "unsupported"


def test_heic_is_read_with_its_library() -> None:
    pytest.importorskip("pillow_heif")
    decoded = np.asarray(decode_rgb(FILES["HEIF"][0])).astype(int)
    assert np.abs(decoded - np.asarray(picture())).mean() < 8


def test_encapsulated_postscript_is_never_run() -> None:
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    with pytest.raises(ImageError, match=r"not an image of a known format \(JPEG, PNG") as caught:
        decode_rgb(drawing)
    assert caught.value.reason == "unidentified"


def test_giant_sizes_are_refused_before_memory_is_taken() -> None:
    webp = b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2 + bytes(40)
    lossless = b"RIFF\x40\0\0\0WEBPVP8L\x2c\0\0\0\x2f\xff\xff\xff\x0f" + bytes(40)
    lossy = b"RIFF\x40\0\0\0WEBPVP8 \x34\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(42)
    bitmap = bytearray(saved(picture(), "BMP"))
    struct.pack_into("<2i", bitmap, 18, 60_000, 60_000)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))
    for content in (webp, lossless, lossy, bytes(bitmap), png):
        assert reason_of(content, max_pixels=50_000_000) == "too_large"


def test_a_progressive_jpeg_may_not_repeat_its_scans() -> None:
    jpeg = saved(picture(), "JPEG", progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    few = jpeg[:-2] + last * 10 + b"\xff\xd9"
    assert decode_rgb(few).size == picture().size
    with pytest.raises(ImageError, match=rf"scans, but only {MAX_SCANS} are allowed") as caught:
        decode_rgb(jpeg[:-2] + last * MAX_SCANS + b"\xff\xd9")
    assert caught.value.reason == "unsupported"


def chunk(kind: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data) & 0xFFFFFFFF)
    )


def test_mutated_files_raise_nothing_but_image_errors() -> None:
    """Within 256 MiB of address space; a file that takes ten seconds ends the process."""
    command = [sys.executable, "-m", "support.image_fuzz", str(FUZZED), "0"]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["files"] == FUZZED
    assert record["escaped"] == {}
    assert record["warnings"] == []
    assert record["extra_mib"] < 100
    for counts in record["formats"].values():
        assert counts["decoded"] > 0
        assert sum(counts.values()) == FUZZED // len(record["formats"])


def bad_folder(root: Path) -> Path:
    """Two classes with six good images each, and every bad case."""
    for name in ("happy", "sad"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            shade = Image.new("RGB", (12, 10), (40 * number, 9, 200))
            shade.save(root / name / f"{number}.png")
    for case in ("damaged.avif", "unknown_pixel_format.dds"):
        named = f"{case.split('.')[0]}.png"
        (root / "happy" / named).write_bytes((CASES / case).read_bytes())
    (root / "sad" / "turned.jpg").write_bytes((CASES / "exif_srational.jpg").read_bytes())
    (root / "sad" / "text.png").write_bytes((CASES / "png_3MiB_text.png").read_bytes())
    return root


@pytest.mark.parametrize("duplicates", ["keep", "group"])
def test_bad_files_are_quarantined_by_name(tmp_path: Path, duplicates: str) -> None:
    source = open_source("folder", str(bad_folder(tmp_path / "set")), domain="ier")
    layout = LayoutSettings.model_validate({"max_bad": 5, "duplicates": duplicates})
    location = f"{tmp_path}/shards"
    manifest = write_shard_set(source, "ier", location, scheme=FOUR, layout=layout).manifest
    reasons = {bad.sample_id.rsplit("/", 1)[-1]: bad.reason for bad in manifest.quarantined}
    assert reasons == {"damaged.png": "truncated", "unknown_pixel_format.png": "unsupported"}
    assert manifest.listed == manifest.rows + len(reasons) == 16
    rows = pq.read_table(f"{location}/{manifest.shards[0].file}").to_pylist()
    sizes = {row["sample_id"].rsplit("/", 1)[-1]: (row["width"], row["height"]) for row in rows}
    assert (sizes["turned.jpg"], sizes["text.png"]) == ((40, 60), (60, 40))


@pytest.mark.parametrize("column", ["image", "cue_mask"])
def test_an_image_that_became_unreadable_is_named(tmp_path: Path, column: str) -> None:
    root = tmp_path / "set"
    source = open_source("folder", str(bad_folder(root)), domain="ier")
    layout = LayoutSettings(max_bad=5, duplicates="keep", folds=2)
    location = f"{tmp_path}/shards"
    write_shard_set(source, "ier", location, scheme=FOUR, layout=layout)
    shards = ShardSet.open(location)
    file = f"{location}/{shards.manifest.shards[0].file}"
    table = pq.read_table(file)
    names = table.column_names
    broken = [b"not an image"] * len(table)
    pq.write_table(table.set_column(names.index(column), table.field(column), [broken]), file)
    with pytest.raises(DataError, match=r"image '.*\.(png|jpg)' passed ingest but is unreadable"):
        images_from_shards(
            ShardSet.open(location), per_class=1, fold=0, preprocessing=Preprocessing(8)
        )
    if column == "image":
        rows = shards.index()
        columns = {name: getattr(rows, name)[:1] for name in ("file", "row_group", "row")}
        reader = RowReader.of(shards, 8)
        with pytest.raises(DataError, match=r"image '.*' passed ingest but is unreadable now"):
            list(reader.read(columns))
