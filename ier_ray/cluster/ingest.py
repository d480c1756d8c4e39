"""From a source to shards: a Ray Data job that writes one Parquet file per task."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import ray

from ier_ray import storage
from ier_ray.cluster.connection import connect
from ier_ray.data.ingestion import BlockTask, IngestReport, write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain
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
    """:func:`~ier_ray.data.ingestion.write_shard_set` , its images read by Ray tasks.

    Raises:
        StorageError: when the location cannot be written.
    """
    storage.check_writable(location, directory=True)
    return write_shard_set(
        source, domain, location, scheme=scheme, layout=layout, execute=run_on_cluster
    )


def run_on_cluster(task: BlockTask, blocks: list[pa.Table]) -> Iterator[pa.Table]:
    """Apply the task to every block by a Ray task; yields the results."""
    connect()
    done = ray.data.from_blocks(blocks).map_batches(task, batch_size=None, batch_format="pyarrow")
    yield from done.iter_batches(batch_size=None, batch_format="pyarrow")
