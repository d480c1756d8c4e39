"""Every file and sample of a folder is kept, dropped, quarantined, a duplicate or skipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.messy import assert_all_accounted, left_out, write_messy
from support.pictures import Gallery, picture, saved
from support.shards import LAYOUT, Album
from support.sources import paint

from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.inspection import as_text, inspect_shards
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import Listed, open_source
from ier_ray.emotions import FOUR, SEVEN, EmotionScheme
from ier_ray.errors import DataError


def test_a_folder_as_users_have_it(tmp_path: Path) -> None:
    expected = write_messy(tmp_path / "set")
    source = open_source("auto", f"{tmp_path}/set", domain="fer")
    layout = LayoutSettings(max_bad=5, folds=2, rows_per_shard=6)
    location = f"{tmp_path}/shards"
    manifest = write_shard_set(source, "fer", location, scheme=FOUR, layout=layout).manifest
    assert_all_accounted(location, manifest, expected)
    files = [path for path in (tmp_path / "set").rglob("*") if not path.is_dir()]
    assert len(files) == manifest.listed
    text = as_text(inspect_shards(ShardSet.open(location)))
    assert "skipped not_an_image: 4 files (ingest named them in left_out.parquet)" in text
    assert "skipped system: 5 files" in text


def test_copies_that_are_dropped_are_named(tmp_path: Path) -> None:
    images = [saved(picture(number)) for number in range(4)]
    samples = tuple(Listed(f"s{n}", FOUR.classes[n % 4], f"s{n}") for n in range(5))
    source = Gallery(samples, (*images, images[0]))
    layout = LAYOUT.model_copy(update={"duplicates": "drop", "folds": 2})
    manifest = write_shard_set(source, "ier", str(tmp_path), scheme=FOUR, layout=layout).manifest
    assert left_out(str(tmp_path)) == {"s4": ("duplicate", "copy")}
    assert manifest.listed == manifest.rows + manifest.duplicates.dropped == 5


def test_a_class_without_a_row_is_warned_of_and_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = write_shard_set(Album(), "ier", str(tmp_path), scheme=FOUR, layout=LAYOUT).manifest
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    message = warning.getMessage()
    assert "no row of class 'hate', 'anger' of scheme 'four'" in message
    assert "10 amusement as happy, 20 sadness as sad, 10 awe dropped" in message
    assert manifest.empty_classes == ["hate", "anger"]
    shards = ShardSet.open(str(tmp_path))
    described = inspect_shards(shards)
    assert described["empty_classes"] == ["hate", "anger"]
    assert "class 'hate': NO ROW" in as_text(described)
    with pytest.raises(DataError, match=r"no row of class hate, anger of .*'hate': 0.*'awe': 10"):
        shards.require_all_classes()


def test_a_complete_set_is_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paint(tmp_path / "set", *(f"{label}/{n}.png" for label in FOUR.classes for n in (1, 2)))
    source = open_source("folder", f"{tmp_path}/set", domain="ier")
    layout = LayoutSettings(folds=2, duplicates="keep")
    write_shard_set(source, "ier", f"{tmp_path}/out", scheme=FOUR, layout=layout)
    assert not caplog.records
    ShardSet.open(f"{tmp_path}/out").require_all_classes()


@pytest.mark.parametrize(
    ("folder", "written"),
    [("Happy", "happy"), ("happy ", "HAPPY"), ("Joie de vivre", "joie_de_vivre")],
)
def test_a_scheme_gets_the_rows_of_its_classes(tmp_path: Path, folder: str, written: str) -> None:
    paint(tmp_path / "set", f"{folder}/1.png", f"{folder}/2.png", "Sad/1.png", "Sad/2.png")
    source = open_source("auto", f"{tmp_path}/set", domain="fer")
    layout = LayoutSettings(folds=2, duplicates="keep")
    scheme = EmotionScheme("mine", (written, "SAD"))
    manifest = write_shard_set(
        source, "fer", f"{tmp_path}/out", scheme=scheme, layout=layout
    ).manifest
    assert {name: sum(counts) for name, counts in manifest.counts.items()} == {written: 2, "SAD": 2}


def test_too_many_bad_images_of_a_recognized_folder_say_how_it_was_read(tmp_path: Path) -> None:
    paint(tmp_path / "set", "happy/1.png", "happy/2.png", "sad/1.png", "sad/2.png")
    (tmp_path / "set/sad/3.png").write_text("")
    source = open_source("auto", f"{tmp_path}/set", domain="fer")
    layout = LayoutSettings(folds=2, duplicates="keep")
    with pytest.raises(DataError, match=r"raise --max-bad \(.* was taken for source 'folder'"):
        write_shard_set(source, "fer", f"{tmp_path}/out", scheme=SEVEN, layout=layout)
