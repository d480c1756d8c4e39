"""Loads, verifies, optionally downscales and writes a block of samples as one Parquet file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ier_ray import storage
from ier_ray.data.images import decode_rgb, pixel_hash, reduced
from ier_ray.data.listing import listed_of
from ier_ray.data.schema import SHARD_SCHEMA, Domain
from ier_ray.data.sources import Source
from ier_ray.errors import ImageError


@dataclass(frozen=True)
class ShardWriter:
    """Writes a block of listed samples as one Parquet file; can run in any process."""

    source: Source
    domain: Domain
    location: str
    rows_per_group: int
    resize: int | None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write a block, whose number is in column ``shard``; returns a JSON summary in one row."""
        number = block["shard"][0].as_py()
        file = f"shards/part-{number:05d}.parquet"
        location = storage.join(self.location, file)
        quarantined: list[dict[str, str]] = []
        counts: Counter[str] = Counter()
        with storage.writing(location) as stream:
            hashed = storage.HashedStream(stream)
            # Encoded images do not compress further, and the other columns are small.
            with pq.ParquetWriter(hashed, SHARD_SCHEMA, compression="none") as parquet:
                rows = self._rows(block, quarantined)
                while group := list(islice(rows, self.rows_per_group)):
                    parquet.write_table(pa.Table.from_pylist(group, schema=SHARD_SCHEMA))
                    counts.update(f"{row['fold']} {row['label']}" for row in group)
        summary: dict[str, Any] = {
            "shard": number,
            "listed": len(block),
            "quarantined": quarantined,
            "counts": counts,
            "file": {"file": file, "rows": counts.total(), "sha256": hashed.sha256.hexdigest()},
        }
        return pa.table({"summary": [json.dumps(summary)]})

    def _rows(self, block: pa.Table, quarantined: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
        for entry in block.drop_columns(["shard"]).to_pylist():
            listed = listed_of(entry)
            try:
                loaded = self.source.load(self.domain, listed)
                encoded, image = loaded.image, decode_rgb(loaded.image)
            except ImageError as error:
                quarantined.append(
                    {
                        "sample_id": listed.sample_id,
                        "reason": error.reason,
                        "detail": str(error),
                    }
                )
                continue
            pixels = pixel_hash(image)
            if self.resize is not None and min(image.size) > self.resize:
                encoded, image = reduced(image, shorter_side=self.resize)
            yield {
                **entry,
                "image": encoded,
                "domain": self.domain,
                "height": image.height,
                "width": image.width,
                "pixel_hash": pixels,
                "cue_mask": loaded.cue_mask,
            }
