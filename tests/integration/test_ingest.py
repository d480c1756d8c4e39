"""Ingest on a real cluster: the same shard sets as in one process, and its errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import ray
from support.datasets import DATASETS
from support.messy import assert_all_accounted, write_messy
from support.pictures import COPIES, Gallery, picture, saved
from support.runs import ROOT, SAMPLES, SIZE, tiny_settings
from support.shards import LAYOUT, Album

from ier_ray.cluster.ingest import ingest
from ier_ray.cluster.job import run_job
from ier_ray.cluster.runs import check_data
from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain, read_shard_manifest
from ier_ray.data.sources import CombinedSource, Listed, Loaded, SyntheticSource, open_source
from ier_ray.emotions import FOUR
from ier_ray.errors import DataError, StorageError


def assert_same_shard_sets(found: str, expected: str) -> None:
    """The same manifest, and every file the same to the byte."""
    assert read_shard_manifest(found) == read_shard_manifest(expected)
    written = sorted(path.relative_to(found) for path in Path(found).rglob("*.parquet"))
    assert written == sorted(
        path.relative_to(expected) for path in Path(expected).rglob("*.parquet")
    )
    for file in written:
        assert Path(found, file).read_bytes() == Path(expected, file).read_bytes()


def test_the_cluster_writes_what_one_process_writes(
    cluster: None, shards: dict[str, str], tmp_path: Path
) -> None:
    source = SyntheticSource(samples=SAMPLES, size=SIZE, seed=3)
    layout = LayoutSettings(seed=3, rows_per_shard=70, rows_per_group=20)
    for domain in source.domains:
        location = f"{tmp_path}/{domain}"
        report = ingest(source, domain, location, scheme=FOUR, layout=layout)
        assert not report.unchanged
        assert_same_shard_sets(location, shards[domain])


def test_bad_images_are_quarantined_and_too_many_leave_no_manifest(
    cluster: None, tmp_path: Path
) -> None:
    location, here = f"{tmp_path}/album", f"{tmp_path}/here"
    with pytest.raises(DataError, match=r"3 unusable images, --max-bad allows 2: image-\d"):
        ingest(Album(broken=3), "ier", location, scheme=FOUR, layout=LAYOUT)
    with pytest.raises(DataError, match=r"no shard set here \(manifest.json is missing\)"):
        read_shard_manifest(location)
    found = ingest(Album(), "ier", location, scheme=FOUR, layout=LAYOUT)  # a later try succeeds
    expected = write_shard_set(Album(), "ier", here, scheme=FOUR, layout=LAYOUT)
    assert len(found.manifest.quarantined) == 2
    assert found.manifest == expected.manifest
    assert_same_shard_sets(location, here)
    again = ingest(Album(), "ier", location, scheme=FOUR, layout=LAYOUT)
    assert again == replace(found, unchanged=True)


def test_copies_are_found_by_the_cluster_as_by_one_process(cluster: None, tmp_path: Path) -> None:
    originals = [saved(picture(number)) for number in range(8)]
    images = (
        *originals,
        *(COPIES["mirrored and encoded again"](picture(n)) for n in range(3)),
        b"",
    )
    samples = tuple(Listed(f"s{n}", FOUR.classes[n % 4], f"s{n}") for n in range(len(images)))
    source = Gallery(samples, images)
    for mode, rows in (("group", 11), ("drop", 8)):
        layout = LAYOUT.model_copy(update={"duplicates": mode, "rows_per_shard": 3})
        location, here = f"{tmp_path}/{mode}", f"{tmp_path}/here-{mode}"
        found = ingest(source, "ier", location, scheme=FOUR, layout=layout)
        write_shard_set(source, "ier", here, scheme=FOUR, layout=layout)
        assert (found.manifest.duplicates.clusters, found.manifest.rows) == (3, rows)
        assert_same_shard_sets(location, here)


@pytest.mark.parametrize("domain", ["fer", "ier"])
def test_all_datasets_of_a_domain_are_ingested_at_once(
    cluster: None, tmp_path: Path, domain: Domain
) -> None:
    """Every source loads its images in the cluster's tasks."""
    sources = []
    for write in DATASETS:
        root = tmp_path / "Downloaded" / write.__name__
        root.mkdir(parents=True)
        write(root)
        source = open_source("auto", str(root))
        sources += [source] if source.domains == (domain,) else []
    combined = CombinedSource(tuple(sources))
    layout = LayoutSettings(
        folds=4, max_bad=len(sources), rows_per_shard=30, rows_per_group=7, duplicates="keep"
    )
    location, here = f"{tmp_path}/shards", f"{tmp_path}/here"
    found = ingest(combined, domain, location, scheme=FOUR, layout=layout)
    write_shard_set(combined, domain, here, scheme=FOUR, layout=layout)
    assert found.manifest.datasets == sorted(source.name for source in sources)
    assert_same_shard_sets(location, here)


@dataclass(frozen=True)
class Unreachable(Album):
    """An album on a storage that refuses."""

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        raise StorageError(f"s3://album/{sample.sample_id}: cannot be read: ACCESS_DENIED")


def test_a_storage_that_fails_inside_a_task_gives_one_clear_line(
    cluster: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    location = f"{tmp_path}/album"
    with pytest.raises(StorageError, match=r"s3://album/image-\d+: cannot be read"):
        ingest(Unreachable(), "ier", location, scheme=FOUR, layout=LAYOUT)
    assert not list(Path(location).rglob("*.parquet"))
    error = StorageError("s3://album: cannot be read")
    task = ray.remote(lambda: exec("raise error", {"error": error})).remote()  # noqa: S102

    def body(settings: LayoutSettings) -> dict[str, Any]:
        ray.get(task)
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "shutdown", lambda: None)  # the session's cluster stays
        assert run_job(LayoutSettings, body, program="ingest", purpose="", arguments=[]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert re.fullmatch(r"ingest: error: s3://album: cannot be read \(log: \S+\.log\)", last)


def test_the_job_accounts_for_a_folder_as_users_have_it(cluster: None, tmp_path: Path) -> None:
    expected = write_messy(tmp_path / "set")
    output = f"{tmp_path}/shards"
    done = subprocess.run(
        [
            *(sys.executable, "jobs/ingest.py", f"--path={tmp_path}/set", "--domain=fer"),
            *(f"--output={output}", "--max-bad=5", "--folds=2"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_all_accounted(f"{output}/fer", read_shard_manifest(f"{output}/fer"), expected)
    record = json.loads(done.stdout.splitlines()[-1])["fer"]
    assert record["listed"] == expected.listed
    assert record["skipped"] == dict(Counter(expected.skipped.values()))
    assert record["empty_classes"] == []
    assert f"{tmp_path}/set: recognized as source 'folder', because" in done.stderr
    source = open_source("folder", f"{tmp_path}/set", domain="fer")
    layout = LayoutSettings(folds=2, max_bad=5)
    write_shard_set(source, "fer", f"{tmp_path}/here", scheme=FOUR, layout=layout)
    assert_same_shard_sets(f"{output}/fer", f"{tmp_path}/here")


def test_training_on_a_class_without_a_row_is_refused_unless_allowed(
    shards: dict[str, str], tmp_path: Path
) -> None:
    location = str(tmp_path / "ier")
    layout = LayoutSettings(duplicates="keep")
    drawn = SyntheticSource(samples=SAMPLES, size=SIZE, seed=3)
    write_shard_set(Happier(drawn), "ier", location, scheme=FOUR, layout=layout)
    given = {**shards, "ier": location}
    with pytest.raises(DataError, match=r"/ier: no row of class sad of .*'sad': 0.*allow_empty_cl"):
        check_data(tiny_settings(given, tmp_path))
    check_data(tiny_settings({**given, "allow_empty_classes": True}, tmp_path))  # type: ignore[dict-item]
    check_data(tiny_settings(given, tmp_path, schedule__networks="fer", loss={"balance": 0}))


@dataclass(frozen=True)
class Happier:
    """Drawings of which those that are sad are called happy."""

    drawn: SyntheticSource
    name: str = "happier"
    domains: tuple[Domain, ...] = ("ier",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        for sample in self.drawn.list(domain):
            label = sample.source_label
            yield sample._replace(source_label="happy" if label == "sad" else label)

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        return self.drawn.load(domain, sample)
