"""Reading shards and decoding images with Ray Data.

Ray Train's own dataset splitting hands blocks to ranks first come, first served, and does not
know the epoch. Here every rank plans its own rows (a pure function of seed, epoch and rank) and
streams only those through Ray Data, in order: the same seed gives the same batches, and a resumed
run reads the same batches as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from ier_ray.cluster.read_ahead import limit_read_ahead
from ier_ray.data.order import Columns
from ier_ray.data.schema import Domain
from ier_ray.data.shards import RowReader, ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.training.settings import TrainSettings

PREFETCHED_BATCHES = 2


def open_splits(settings: TrainSettings) -> dict[Domain, SplitIndex]:
    """The rows of each domain of a run, divided; FER's with the IER rows that ``data.mix`` adds.

    Raises:
        DataError: as :meth:`SplitPlan.parts`.
    """
    splits = {
        domain: SplitIndex.read(
            ShardSet.open(settings.data.location(domain)), settings.split_plan(domain)
        )
        for domain in settings.domains
    }
    if settings.data.mix > 0:
        splits["fer"] = splits["fer"].mixed_with(
            splits["ier"], fraction=settings.data.mix, seed=settings.seed
        )
    return splits


def open_streams(settings: TrainSettings, *, rank: int, world_size: int) -> JointStreams:
    """One rank's batches, read and decoded by Ray tasks."""
    scaling = settings.scaling
    ahead = tasks_ahead(streams=2 * world_size, busy_cpus=world_size * scaling.cpus_per_worker)
    splits = open_splits(settings)
    return JointStreams(
        splits.get("fer"),
        splits.get("ier"),
        preprocessing=settings.preprocessing,
        batch_size=settings.optimizer.batch_size,
        seed=settings.seed,
        balance={domain: settings.class_balance(domain) for domain in splits},
        window=settings.data.shuffle_window,
        rank=rank,
        world_size=world_size,
        execute=partial(read_on_cluster, ahead=ahead),
    )


def decoded_rows(reader: RowReader, tasks: list[Columns], *, ahead: int) -> ray.data.Dataset:
    """Rows of read tasks (at least one), decoded by Ray tasks, in order.

    Args:
        ahead: maximum number of tasks that run or wait for the consumer.
    """
    dataset = ray.data.from_arrow([pa.table(task) for task in tasks])
    dataset.context.execution_options.preserve_order = True
    # A chunk is passed on as soon as it is read: neither merged with the next one nor split.
    dataset.context.target_max_block_size = reader.chunk_rows * reader.row_bytes
    largest = max(len(task["row"]) for task in tasks)
    limit_read_ahead(dataset.context, tasks=ahead, task_bytes=largest * reader.row_bytes)
    return dataset.map_batches(reader.read, batch_size=None, batch_format="numpy")


def read_on_cluster(
    reader: RowReader, tasks: list[Columns], batch_size: int, *, ahead: int
) -> Iterator[dict[str, Any]]:
    """Batches of read tasks run by Ray; same rows and order as reading in this process."""
    if not tasks:
        return
    batches = decoded_rows(reader, tasks, ahead=ahead).iter_batches(
        batch_size=batch_size, batch_format="numpy", prefetch_batches=PREFETCHED_BATCHES
    )
    for batch in batches:
        yield {name: np.asarray(column) for name, column in batch.items()}


def tasks_ahead(*, streams: int, busy_cpus: float = 0.0) -> int:
    """Maximum number of a stream's read tasks that run or wait for the consumer.

    One running task per CPU of its share, as many waiting to be consumed, and one waiting to run.

    Args:
        streams: streams that are read at the same time.
        busy_cpus: CPUs that training workers hold.
    """
    free: float = ray.cluster_resources().get("CPU", 1.0) - busy_cpus
    return 2 * max(1, math.ceil(free / streams)) + 1
