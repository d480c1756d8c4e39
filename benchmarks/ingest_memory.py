"""Memory of a large ingest: our job beside one Parquet table built in memory.

A generated set of small JPEGs goes through the whole job: listing, verification, folds, shuffle,
row groups, manifest. The measure is the peak memory of all processes of the run together
(proportional set size, so that shared pages count once), less what they held before. The images do
not go through Ray's object store, and a shard is written one row group at a time: only the listing
grows with the rows.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from PIL import Image
from subjects.memory import Peak

from ier_ray.cluster.connection import connect
from ier_ray.cluster.ingest import ingest
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import Listed, Loaded
from ier_ray.emotions import FOUR

WORKERS = 2
DISTINCT = 256
MIB = 2**20


def jpeg(seed: int) -> bytes:
    """A noisy 96x96 JPEG of about 2 kB."""
    pixels = np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=30)
    return buffer.getvalue()


@dataclass(frozen=True)
class Generated:
    """As many samples as asked for."""

    count: int
    images: tuple[bytes, ...] = field(repr=False)
    name: str = "generated"

    @property
    def domains(self) -> tuple[Domain, ...]:
        return ("ier",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        for number in range(self.count):
            sample_id = f"generated/folder-{number // 1000}/image-{number:08d}.jpg"
            yield Listed(sample_id, FOUR.classes[number % 4], sample_id, str(number))

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        return Loaded(self.images[int(sample.locator) % DISTINCT], None)


def generated(count: int) -> Generated:
    return Generated(count, tuple(map(jpeg, range(DISTINCT))))


def held() -> int:
    total = 0
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue  # it ended
    return total


def ours(count: int, directory: str) -> dict[str, Any]:
    ray.init("local", num_cpus=WORKERS, logging_level="ERROR")
    connect()
    started = time.perf_counter()
    with Peak(held, every=0.5) as peak:
        layout = LayoutSettings(duplicates="keep")  # the few images are repeated
        report = ingest(generated(count), "ier", f"{directory}/ours", scheme=FOUR, layout=layout)
    seconds = time.perf_counter() - started
    ray.shutdown()
    if len(ShardSet.open(report.location).index()) != count:
        raise SystemExit(f"{count} rows went in, {report.manifest.rows} came out")
    return {"peak": peak.peak, "added": peak.peak - peak.base, "seconds": seconds}


def table(count: int, directory: str) -> dict[str, Any]:
    """What a script would do: every row in one table, written at once."""
    source = generated(count)
    started = time.perf_counter()
    with Peak(held, every=0.5) as peak:
        listed = list(source.list("ier"))
        order = np.random.default_rng(0).permutation(count)
        rows = [listed[place] for place in order]
        content = pa.table(
            {
                "image": pa.array(
                    [source.load("ier", row).image for row in rows], pa.large_binary()
                ),
                "label": [row.source_label for row in rows],
                "sample_id": [row.sample_id for row in rows],
            }
        )
        pq.write_table(content, f"{directory}/table.parquet", row_group_size=128)
    seconds = time.perf_counter() - started
    return {"peak": peak.peak, "added": peak.peak - peak.base, "seconds": seconds}


def apart(measure: Callable[[int, str], dict[str, Any]], count: int) -> dict[str, Any]:
    """A measurement in a process of its own (forked: Ray's workers know this script's classes)."""
    with (
        tempfile.TemporaryDirectory() as directory,
        multiprocessing.get_context("fork").Pool(1) as pool,
    ):
        found = pool.apply(measure, (count, directory))
        found["written"] = sum(file.stat().st_size for file in Path(directory).rglob("*.parquet"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows, under 50 s")
    parser.add_argument("--rows", type=int, help="rows of the large set [1,000,000; quick 40,000]")
    arguments = parser.parse_args()
    rows = arguments.rows or (40_000 if arguments.quick else 1_000_000)
    print(f"{'rows':>10}{'':>8}{'peak MiB':>10}{'added MiB':>11}{'written MiB':>13}{'seconds':>9}")
    small, large = shown("ours", ours, rows // 4), shown("ours", ours, rows)
    # The table of all rows would not fit: its growth is taken from smaller ones.
    smaller, larger = shown("table", table, rows // 16), shown("table", table, rows // 4)
    ours_growth = (large["added"] - small["added"]) / (rows - rows // 4)
    table_growth = (larger["added"] - smaller["added"]) / (rows // 4 - rows // 16)
    record = {
        "rows": rows,
        "ours_peak_mib": large["peak"] / MIB,
        "ours_bytes_per_row": ours_growth,
        "table_bytes_per_row": table_growth,
        "ratio": ours_growth / table_growth,
        "ours_rows_per_s": rows / large["seconds"],
    }
    print(json.dumps(record))


def shown(name: str, measure: Callable[[int, str], dict[str, Any]], count: int) -> dict[str, Any]:
    found = apart(measure, count)
    peak, added, written = (found[key] / MIB for key in ("peak", "added", "written"))
    print(
        f"{count:>10}{name:>8}{peak:>10.0f}{added:>11.0f}{written:>13.0f}{found['seconds']:>9.0f}",
        flush=True,
    )
    return found


if __name__ == "__main__":
    main()
