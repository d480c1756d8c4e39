"""What ingest does with copies: groups, the datasets' own parts, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.pictures import COPIES, Gallery, picture, saved

from ier_ray.data.duplicates import merged_groups, treat_duplicates
from ier_ray.data.fingerprints import Fingerprinter
from ier_ray.data.images import pixel_hash
from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.inspection import as_text, inspect_shards
from ier_ray.data.listing import LayoutSettings, list_samples
from ier_ray.data.schema import Duplicates, DuplicatesMode, Part
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import Listed
from ier_ray.emotions import FOUR
from ier_ray.errors import DataError

LAYOUT = LayoutSettings(folds=3, max_bad=1, rows_per_shard=5, rows_per_group=2)


def gallery(*rows: tuple[int, str, str, Part | None]) -> Gallery:
    """Rows of: number of the picture, label, group (own if empty), part."""
    samples = tuple(
        Listed(f"s{number}", label, group or f"s{number}", split=split)
        for number, (_, label, group, split) in enumerate(rows)
    )
    return Gallery(samples, tuple(saved(picture(shown)) for shown, *_ in rows))


def treated(
    source: Gallery, mode: DuplicatesMode, *, blocks: int = 1
) -> tuple[dict[str, dict[str, Any]], Duplicates]:
    """The rows by their id, and the record."""
    listing = list_samples(source, "ier", FOUR).samples
    numbered = listing.append_column("row", pa.array(range(len(listing))))
    size = -(-len(listing) // blocks)
    parts = [numbered.slice(start, size) for start in range(0, len(listing), size)]
    found = treat_duplicates(listing, map(Fingerprinter(source, "ier"), parts[::-1]), mode)
    return {row["sample_id"]: row for row in found.listing.to_pylist()}, found.record


def test_groups_that_share_a_copy_become_one() -> None:
    clusters = [np.array([0, 3]), np.array([4, 5])]
    groups = ["a", "b", "a", "c", "c", "d", "e"]
    assert merged_groups(groups, clusters) == ["a", "b", "a", "a", "a", "a", "e"]
    assert merged_groups(groups, []) == groups


CONFLICT = gallery(
    (1, "happy", "anna", None),
    (2, "happy", "anna", None),
    (1, "sad", "bert", None),
    (3, "anger", "bert", None),
    (2, "happy", "", None),
    (4, "sad", "", None),
)


@pytest.mark.parametrize("blocks", [1, 4])
def test_copies_and_the_groups_they_connect_are_one_group(blocks: int) -> None:
    rows, record = treated(CONFLICT, "group", blocks=blocks)
    assert [row["group"] for row in rows.values()] == ["anna"] * 5 + ["s5"]
    assert (record.clusters, record.images, record.exact, record.near) == (2, 4, 2, 0)
    assert (record.dropped, record.left_out_of_own_split, record.conflicting) == (0, 0, 1)
    (conflict,) = record.conflicts
    assert (conflict.sample_ids, conflict.labels) == (["s0", "s2"], ["happy", "sad"])


def test_only_the_most_held_out_copies_keep_their_own_part() -> None:
    source = gallery(
        (1, "sad", "", "train"),
        (1, "sad", "", "test"),
        (1, "sad", "", "test"),
        (1, "sad", "", None),
        (2, "sad", "", "train"),
        (2, "sad", "", "val"),
        (3, "sad", "", "train"),
        (3, "sad", "", "train"),
        (4, "sad", "", "val"),
    )
    rows, record = treated(source, "group")
    assert [row["split"] for row in rows.values()] == [
        *(None, "test", "test", None),
        *(None, "val"),
        *("train", "train"),
        "val",
    ]
    assert record.left_out_of_own_split == 2
    kept, dropping = treated(source, "drop")
    assert {name: row["split"] for name, row in kept.items()} == {
        "s1": "test",
        "s5": "val",
        "s6": "train",
        "s8": "val",
    }
    assert (dropping.dropped, dropping.left_out_of_own_split) == (5, 0)


def planted() -> Gallery:
    """Twelve pictures, two of them with every kind of copy, and one broken image."""
    labels = FOUR.classes
    images = {f"s{n}": saved(picture(n)) for n in range(12)}
    for number in (0, 1):
        for kind, copied in COPIES.items():
            images[f"s{number} {kind}"] = copied(picture(number))
    images["broken"] = b""
    samples = tuple(
        Listed(name, labels[int(name[1:].split()[0]) % 4] if name != "broken" else "sad", name)
        for name in images
    )
    return Gallery(samples, tuple(images.values()))


def stored(location: str) -> list[dict[str, Any]]:
    return [
        row for file in ShardSet.open(location).files for row in pq.read_table(file).to_pylist()
    ]


def test_planted_copies_share_a_fold_and_are_counted(tmp_path: Path) -> None:
    location = f"{tmp_path}/shards"
    first = write_shard_set(planted(), "ier", location, scheme=FOUR, layout=LAYOUT)
    found = first.manifest.duplicates
    copies = 2 * len(COPIES)
    assert (found.mode, found.clusters, found.images) == ("group", 2, 2 + copies)
    assert found.images == found.clusters + found.exact + found.near
    assert found.exact == 2 * 2  # the same pixels in PNG and BMP; the others differ
    assert (found.dropped, found.conflicting) == (0, 0)
    assert first.manifest.listed == first.manifest.rows + 1 == 12 + copies + 1
    rows = stored(location)
    for number in (0, 1):
        members = [row for row in rows if row["sample_id"].split()[0] == f"s{number}"]
        assert len(members) == 1 + len(COPIES)
        assert {row["group"] for row in members} == {f"s{number}"}
        assert len({row["fold"] for row in members}) == 1
    again = write_shard_set(planted(), "ier", location, scheme=FOUR, layout=LAYOUT)
    assert (again.unchanged, again.manifest) == (True, first.manifest)
    other = LAYOUT.model_copy(update={"duplicates": "drop"})
    with pytest.raises(DataError, match="made with other settings"):
        write_shard_set(planted(), "ier", location, scheme=FOUR, layout=other)


def test_dropped_copies_are_accounted_for(tmp_path: Path) -> None:
    layout = LAYOUT.model_copy(update={"duplicates": "drop", "resize": 48})
    report = write_shard_set(planted(), "ier", str(tmp_path), scheme=FOUR, layout=layout)
    manifest = report.manifest
    assert manifest.duplicates.dropped == 2 * len(COPIES)
    assert (manifest.rows, [bad.sample_id for bad in manifest.quarantined]) == (12, ["broken"])
    rows = {row["sample_id"]: row for row in stored(str(tmp_path))}
    assert rows.keys() == {f"s{n}" for n in range(12)}
    for name, row in rows.items():  # the hash is of the image before it was resized
        assert (row["width"], row["height"]) == (48, 48)
        assert row["pixel_hash"] == pixel_hash(picture(int(name[1:])))


def test_kept_copies_are_not_looked_for(tmp_path: Path) -> None:
    layout = LAYOUT.model_copy(update={"duplicates": "keep"})
    report = write_shard_set(planted(), "ier", str(tmp_path), scheme=FOUR, layout=layout)
    assert report.manifest.duplicates == Duplicates(mode="keep")
    assert all(row["group"] == row["sample_id"] for row in stored(str(tmp_path)))
    text = as_text(inspect_shards(ShardSet.open(str(tmp_path))))
    assert "duplicates: not looked for (--duplicates keep)" in text


def test_inspection_names_conflicting_copies(tmp_path: Path) -> None:
    layout = LAYOUT.model_copy(update={"folds": 2})
    write_shard_set(CONFLICT, "ier", str(tmp_path), scheme=FOUR, layout=layout)
    described = inspect_shards(ShardSet.open(str(tmp_path)))
    assert described["duplicates"]["conflicting"] == 1
    text = as_text(described)
    assert "duplicates (group): 4 images in 2 clusters, 2 exact and 0 near copies" in text
    assert "conflicting s0 (happy), s2 (sad)" in text


def test_too_few_groups_after_merging_name_the_cause(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folds=3 .* only 2 \(copies of an image are one group\)"):
        write_shard_set(CONFLICT, "ier", str(tmp_path), scheme=FOUR, layout=LAYOUT)
