"""From a source to a shard set: counts, order, quarantine, and repeated runs."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.shards import GOOD, LAYOUT, Album
from support.sources import encoded

from ier_ray.data.balancing import hash_ids
from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.inspection import as_text, contact_sheet, inspect_shards
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.samples import images_from_files, images_from_shards
from ier_ray.data.schema import (
    SHARD_SCHEMA,
    Domain,
    Part,
    read_shard_manifest,
    require_scheme,
)
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import CombinedSource, Listed, Loaded, open_source
from ier_ray.emotions import FOUR, SEVEN
from ier_ray.errors import DataError


def test_every_sample_is_accounted_for(tmp_path: Path) -> None:
    location = f"{tmp_path}/album"
    manifest = write_shard_set(Album(), "ier", location, scheme=FOUR, layout=LAYOUT).manifest
    assert (manifest.listed, manifest.rows) == (40, 28)
    assert manifest.dropped == {"awe": 10}
    assert {(bad.sample_id, bad.reason) for bad in manifest.quarantined} == {
        ("image-1", "empty"),
        ("image-7", "empty"),
    }
    assert {label: sum(counts) for label, counts in manifest.counts.items()} == {
        "happy": 10,
        "sad": 18,
        "hate": 0,
        "anger": 0,
    }
    tables = [pq.read_table(f"{location}/{shard.file}") for shard in manifest.shards]
    rows = [row for table in tables for row in table.to_pylist()]
    assert tables[0].schema.equals(SHARD_SCHEMA)
    assert len({row["sample_id"] for row in rows}) == 28
    assert Counter((row["label"], row["fold"]) for row in rows) == Counter(
        {(name, fold): n for name, c in manifest.counts.items() for fold, n in enumerate(c) if n}
    )
    assert all((row["width"], row["height"], row["dataset"]) == (9, 7, "album") for row in rows)
    fold_of = {(row["group"], row["fold"]) for row in rows}
    assert len(fold_of) == len({group for group, _ in fold_of})  # no group in two folds
    for shard in manifest.shards:
        content = Path(location, shard.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == shard.sha256
    names = [row["sample_id"] for row in rows]
    assert names != sorted(names)  # shuffled


def test_a_second_run_does_nothing_and_other_settings_are_refused(tmp_path: Path) -> None:
    location = f"{tmp_path}/album"
    first = write_shard_set(Album(), "ier", location, scheme=FOUR, layout=LAYOUT)
    before = {p: p.stat().st_mtime_ns for p in Path(location).rglob("*.parquet")}
    again = write_shard_set(Album(), "ier", location, scheme=FOUR, layout=LAYOUT)
    assert (first.unchanged, again.unchanged) == (False, True)
    assert again.manifest == first.manifest
    assert before == {p: p.stat().st_mtime_ns for p in Path(location).rglob("*.parquet")}
    other = LAYOUT.model_copy(update={"seed": 2})
    with pytest.raises(DataError, match="holds a shard set made with other settings"):
        write_shard_set(Album(), "ier", location, scheme=FOUR, layout=other)


def test_too_many_bad_images_leave_nothing_that_looks_complete(tmp_path: Path) -> None:
    location = f"{tmp_path}/album"
    with pytest.raises(DataError, match=r"3 unusable images, --max-bad allows 2: image-\d"):
        write_shard_set(Album(broken=3), "ier", location, scheme=FOUR, layout=LAYOUT)
    with pytest.raises(DataError, match=r"no shard set here \(manifest.json is missing\)"):
        read_shard_manifest(location)
    write_shard_set(
        Album(), "ier", location, scheme=FOUR, layout=LAYOUT
    )  # a later attempt succeeds
    assert read_shard_manifest(location).rows == 28


def test_errors_name_what_cannot_be_ingested(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sample id 'image-0' is listed twice"):
        write_shard_set(Album(repeated=True), "ier", f"{tmp_path}/a", scheme=FOUR, layout=LAYOUT)
    many = LAYOUT.model_copy(update={"folds": 30})
    with pytest.raises(DataError, match="folds=30 needs as many groups"):
        write_shard_set(Album(), "ier", f"{tmp_path}/a", scheme=FOUR, layout=many)
    assert not Path(tmp_path, "a").exists()


def test_missing_shards_and_other_schemes_are_named(shards: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"nowhere: no shard set here .* jobs/ingest.py --output"):
        ShardSet.open("nowhere")
    manifest = ShardSet.open(shards["fer"]).manifest
    with pytest.raises(DataError, match=r"'four' \['happy'.*'seven' \['anger'"):
        require_scheme(manifest, SEVEN, shards["fer"])


def test_the_error_names_a_truncated_shard(tmp_path: Path) -> None:
    location = f"{tmp_path}/album"
    manifest = write_shard_set(Album(), "ier", location, scheme=FOUR, layout=LAYOUT).manifest
    file = Path(location, manifest.shards[1].file)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"{file.name}: cannot be read as Parquet"):
        ShardSet.open(location).index()


def test_samples_of_each_class_come_with_their_masks(shards: dict[str, str]) -> None:
    ier = ShardSet.open(shards["ier"])
    images = images_from_shards(ier, per_class=2, fold=3, preprocessing=Preprocessing(64))
    assert [image.label for image in images] == [name for name in FOUR.classes for _ in "ab"]
    for image in images:
        assert image.pixels.shape == (64, 64, 3)
        assert image.cue_mask is not None
        assert 0 < image.cue_mask.mean() < 0.4
    with pytest.raises(DataError, match="fold 9 holds no image; there are folds 0 to 4"):
        images_from_shards(ier, per_class=2, fold=9, preprocessing=Preprocessing(64))


def test_image_files_are_read_or_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(GOOD.getvalue())
    (tmp_path / "b.jpg").write_text("no image")
    a, b, c = (f"{tmp_path}/{name}" for name in ("a.png", "b.jpg", "c.jpg"))
    (image,) = images_from_files([a], preprocessing=Preprocessing(32))
    assert (image.name, image.title, image.location) == (a, "a", a)
    (url,) = images_from_files([f"file://{a}"], preprocessing=Preprocessing(32))
    assert (url.name, url.title, url.location) == (f"file://{a}", "a", a)
    with pytest.raises(DataError) as caught:
        images_from_files([b, a, c, f"{tmp_path}/./a.png"], preprocessing=Preprocessing(32))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{b}: the bytes are not an image")
    assert lines[1:] == [f"{c}: no such file", f"{tmp_path}/./a.png: is given twice"]


def jaffe(root: Path) -> Path:
    """Six subjects with two expressions each, one of which has no class in the scheme."""
    for subject in ("KA", "KL", "KM", "KR", "MK", "NA"):
        for code, shade in (("HA1", 200), ("SA2", 90), ("NE3", 40)):
            image = Image.new("L", (96, 64), shade)
            root.mkdir(exist_ok=True)
            image.save(root / f"{subject}.{code}.{ord(subject[1])}.tiff")
    (root / "KA.HA1.75.tiff").write_bytes(b"II*\0 cut")
    return root


def test_a_dataset_as_downloaded_becomes_shards(tmp_path: Path) -> None:
    source = open_source("auto", str(jaffe(tmp_path / "jaffe")))
    layout = LayoutSettings(max_bad=1, resize=32, duplicates="keep")
    location = f"{tmp_path}/shards/fer"
    manifest = write_shard_set(source, "fer", location, scheme=FOUR, layout=layout).manifest
    assert (source.name, manifest.datasets, manifest.domain) == ("jaffe", ["jaffe"], "fer")
    assert (manifest.listed, manifest.rows, manifest.dropped) == (19, 12, {"neutral": 6})
    assert [bad.reason for bad in manifest.quarantined] == ["truncated"]
    rows = pq.read_table(f"{location}/{manifest.shards[0].file}").to_pylist()
    by_group = {(row["group"], row["fold"]) for row in rows}
    assert len(by_group) == 6  # a subject is in one fold
    for row in rows:
        image = Image.open(io.BytesIO(row["image"]))
        assert image.format == "JPEG"
        assert image.size == (row["width"], row["height"]) == (48, 32)
        assert image.convert("L").getpixel((5, 5)) == pytest.approx(
            {"happy": 200, "sad": 90}[row["label"]], abs=2
        )
        assert row["valence"] is None


def test_inspection_counts_rows_and_sizes(tmp_path: Path) -> None:
    location = f"{tmp_path}/album"
    write_shard_set(Album(), "ier", location, scheme=FOUR, layout=LAYOUT)
    found = inspect_shards(ShardSet.open(location))
    assert found["datasets"] == {"album": 28}
    assert found["sizes"]["width"] == {"min": 9.0, "median": 9.0, "max": 9.0}
    text = as_text(found)
    assert "28 ier images of 40 listed" in text
    assert "dropped 'awe': 10" in text
    assert "quarantined image-7: empty (the image has no bytes)" in text
    happy = next(line for line in text.splitlines() if line.startswith("happy"))
    assert happy.split()[-1] == "10"
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(ShardSet.open(location)))))
    teal = (np.abs(sheet.astype(int) - (0, 128, 128)) < 3).all(2)
    shown = min(8, found["counts"]["happy"][0]) + min(8, found["counts"]["sad"][0])
    assert teal.sum() == shown * 96 * 96


def test_several_datasets_in_one_shard_set(tmp_path: Path) -> None:
    for number, label in enumerate(("happy", "sad") * 6):
        folder = tmp_path / "Ferg" / f"subject{number % 6}" / f"subject{number % 6}_{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), "olive").save(folder / f"{number}.png")
    paths = [str(tmp_path / "Ferg"), str(jaffe(tmp_path / "jaffe"))]
    sources = tuple(open_source("auto", path) for path in paths)
    source = CombinedSource(sources)
    assert (source.name, source.domains) == ("ferg+jaffe", ("fer",))
    location = f"{tmp_path}/all/fer"
    layout = LayoutSettings(max_bad=1, rows_per_shard=5, duplicates="keep")
    manifest = write_shard_set(source, "fer", location, scheme=FOUR, layout=layout).manifest
    assert manifest.datasets == ["ferg", "jaffe"]
    assert (manifest.listed, manifest.rows) == (12 + 19, 12 + 12)
    rows = [
        row
        for shard in manifest.shards
        for row in pq.read_table(f"{location}/{shard.file}").to_pylist()
    ]
    assert Counter(row["dataset"] for row in rows) == {"ferg": 12, "jaffe": 12}
    sizes = {(row["dataset"], row["width"], row["height"]) for row in rows}
    assert sizes == {("ferg", 30, 20), ("jaffe", 96, 64)}  # each image is its own dataset's
    assert len({row["sample_id"] for row in rows}) == 24
    folds = {(row["group"], row["fold"]) for row in rows}
    assert len(folds) == len({group for group, _ in folds}) == 12
    inspected = inspect_shards(ShardSet.open(location))
    assert inspected["datasets"] == {"ferg": 12, "jaffe": 12}


def test_a_shard_without_usable_images_is_left_out(tmp_path: Path) -> None:
    location = f"{tmp_path}/album"
    layout = LAYOUT.model_copy(update={"rows_per_shard": 1})
    manifest = write_shard_set(Album(), "ier", location, scheme=FOUR, layout=layout).manifest
    assert len(manifest.shards) == manifest.rows == 28
    assert len(manifest.quarantined) == 2
    assert len(ShardSet.open(location).index()) == 28


def test_row_groups_have_the_requested_size(tmp_path: Path) -> None:
    location = f"{tmp_path}/album"
    write_shard_set(Album(broken=0), "ier", location, scheme=FOUR, layout=LAYOUT)
    with ShardSet.open(location).parquet(0) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sizes == [3, 3, 2]


def test_what_became_of_each_label_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_shard_set(Album(), "ier", str(tmp_path), scheme=FOUR, layout=LAYOUT)
    expected = "ier labels of album: 10 amusement as happy, 20 sadness as sad, 10 awe dropped"
    assert expected in caplog.messages


@dataclass(frozen=True)
class Parts(Album):
    """The album, whose authors put some images into parts; every image has its own gray."""

    def list(self, domain: Domain) -> Iterator[Listed]:
        parts: tuple[Part | None, ...] = ("train", "val", "test", None)
        for number, sample in enumerate(super().list(domain)):
            yield sample._replace(split=parts[number // 4 % 4])

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        gray = 5 * int(sample.sample_id.split("-")[1])
        return Loaded(encoded((gray, gray, gray)), None)


def test_the_index_has_parts_groups_and_pixel_hashes(tmp_path: Path) -> None:
    layout = LAYOUT.model_copy(update={"resize": 32})
    location = write_shard_set(Parts(), "ier", str(tmp_path), scheme=FOUR, layout=layout).location
    shards = ShardSet.open(location)
    index = shards.index()
    tables = [pq.read_table(file) for file in shards.files]
    rows = [row for table in tables for row in table.to_pylist()]
    for position, row in enumerate(rows):
        number = int(row["sample_id"].split("-")[1])
        assert row["split"] == ("train", "val", "test", None)[number // 4 % 4]
        assert index.split[position] == (0, 1, 2, -1)[number // 4 % 4]
        pixels = bytes([5 * number] * (3 * 8 * 6))
        digest = hashlib.blake2b(b"RGB 8x6 " + pixels, digest_size=8).digest()
        assert row["pixel_hash"] == index.pixels[position] == int.from_bytes(digest, "little")
    groups = [row["group"] for row in rows]
    np.testing.assert_array_equal(index.group, hash_ids(groups))
    assert index.pixels.dtype == index.group.dtype == np.uint64


def test_shard_sets_of_an_earlier_version_are_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schema_version": 1, "domain": "ier"}')
    with pytest.raises(DataError, match=r"schema version 1, .* version 2; ingest the data again"):
        ShardSet.open(str(tmp_path))
