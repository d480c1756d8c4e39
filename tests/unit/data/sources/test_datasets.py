"""All eight datasets of the paper, in their real layout, through the whole ingest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.datasets import DATASETS, Expected, emotic

from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.sources import open_source
from ier_ray.emotions import FOUR


@pytest.mark.parametrize("write", DATASETS, ids=lambda write: write.__name__)
def test_a_dataset_as_distributed_is_ingested_whole(
    tmp_path: Path, write: Callable[[Path], Expected]
) -> None:
    root = tmp_path / "Downloaded"
    root.mkdir()
    expected = write(root)
    source = open_source("auto", str(root))
    assert (source.name, source.domains) == (write.__name__, (expected.domain,))
    layout = LayoutSettings(
        folds=4, max_bad=1, rows_per_shard=9, rows_per_group=4, duplicates="keep"
    )  # many of the little images are the same
    location = f"{tmp_path}/shards"
    manifest = write_shard_set(
        source, source.domains[0], location, scheme=FOUR, layout=layout
    ).manifest
    rows = [
        row
        for shard in manifest.shards
        for row in pq.read_table(f"{location}/{shard.file}").to_pylist()
    ]
    assert Counter(row["label"] for row in rows) == expected.counts
    assert manifest.dropped == expected.dropped
    bad = {rejected.sample_id: rejected.reason for rejected in manifest.quarantined}
    assert bad == expected.quarantined
    assert manifest.listed == len(rows) + sum(manifest.dropped.values()) + len(bad) + sum(
        manifest.skipped.values()
    )
    assert set(manifest.skipped) <= {"annotations", "outside_layout"}
    assert len({row["sample_id"] for row in rows}) == len(rows)
    groups: dict[str, set[int]] = {}
    for row in rows:
        assert row["label"] == FOUR.class_of(row["source_label"])
        groups.setdefault(expected.group_of(row), set()).add(row["fold"])
    assert all(len(folds) == 1 for folds in groups.values())  # no group is in two folds
    assert set().union(*groups.values()) == {0, 1, 2, 3}
    rated = {(row["valence"], row["arousal"], row["dominance"]) for row in rows}
    assert rated == ({(1, 2, 3)} if write is emotic else {(None, None, None)})
