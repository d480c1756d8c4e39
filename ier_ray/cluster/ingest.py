"""From a source to shards: a Ray Data job that writes one Parquet file per task."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import ray

from ier_ray.data.ingestion import IngestReport, write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain
from ier_ray.data.shard_writer import ShardWriter
from ier_ray.data.sources import Source
from ier_ray.emotions import EmotionScheme


def ingest(
    source: Source,
    domain: Domain,
    location: str,
    *,
    scheme: EmotionScheme,
    layout: LayoutSettings,
) -> IngestReport:
    """:func:`~ier_ray.data.ingestion.write_shard_set` with Ray tasks that write the files."""
    return write_shard_set(
        source, domain, location, scheme=scheme, layout=layout, execute=write_on_cluster
    )


def write_on_cluster(writer: ShardWriter, blocks: list[pa.Table]) -> Iterator[str]:
    """Write every block by a Ray task; yields the summaries."""
    written = ray.data.from_arrow(blocks).map_batches(
        writer, batch_size=None, batch_format="pyarrow"
    )
    for row in written.iter_rows():
        yield row["summary"]
