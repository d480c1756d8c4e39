"""Reading shards and decoding images with Ray Data.

Ray Train's own dataset splitting hands blocks to ranks first come, first served, and does not
know the epoch. Here every rank plans its own rows (a pure function of seed, epoch and rank) and
streams only those through Ray Data, in order: the same seed gives the same batches, and a resumed
run reads the same batches as an uninterrupted one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray._private.state import total_resources_per_node

from ier_ray.cluster.read_ahead import limit_read_ahead
from ier_ray.cluster.stream_limits import READ_CPUS, Load
from ier_ray.data.order import Columns
from ier_ray.data.schema import DOMAINS, Domain
from ier_ray.data.shards import RowReader, ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import ExecuteReads, JointStreams, read_locally
from ier_ray.training.settings import TrainSettings

logger = logging.getLogger(__name__)

PREFETCHED_BATCHES = 2
SERIES = 16
"""Names that a process's streams have, one after another; far fewer of them run at once."""

_names = cycle(range(SERIES))


def open_splits(settings: TrainSettings) -> dict[Domain, SplitIndex]:
    """The rows of each trained domain, divided; FER's with the IER rows that ``data.mix`` adds.

    Raises:
        DataError: as :meth:`SplitPlan.parts`.
    """
    splits = {
        domain: SplitIndex.read(
            ShardSet.open(settings.data.location(domain)), settings.split_plan(domain)
        )
        for domain in settings.sources
    }
    if settings.data.mix > 0:
        splits["fer"] = splits["fer"].mixed_with(
            splits["ier"], fraction=settings.data.mix, seed=settings.seed
        )
    return {domain: splits[domain] for domain in settings.domains}


def open_streams(settings: TrainSettings, *, rank: int, world_size: int) -> JointStreams:
    """One rank's batches, read and decoded by Ray tasks."""
    splits = open_splits(settings)
    execute = partial(read_beside_others, own=len(splits), workers=world_size)
    return joint_streams(settings, splits, execute, rank=rank, world_size=world_size)


def joint_streams(
    settings: TrainSettings,
    splits: dict[Domain, SplitIndex],
    execute: ExecuteReads,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> JointStreams:
    """One rank's batches, read and decoded by ``execute``."""
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
        execute=execute,
    )


def decoded_rows(reader: RowReader, tasks: list[Columns], *, ahead: int) -> ray.data.Dataset:
    """Rows of read tasks (at least one), decoded by Ray tasks, in order.

    Args:
        ahead: maximum number of tasks that run or wait for the consumer.
    """
    dataset = ray.data.from_blocks([pa.table(task) for task in tasks])
    dataset.context.execution_options.preserve_order = True
    # A chunk is passed on as soon as it is read: neither merged with the next one nor split.
    dataset.context.target_max_block_size = reader.chunk_rows * reader.row_bytes
    limit_read_ahead(dataset.context, tasks=ahead, task_bytes=task_bytes(reader, tasks))
    decoded = dataset.map_batches(
        reader.read, batch_size=None, batch_format="numpy", num_cpus=READ_CPUS
    )
    # Ray keeps a time series of every metric for every id of a dataset, as long as the cluster
    # lives: with an id for each epoch, the node's agent would grow by half a MiB each.
    process = ray.get_runtime_context().get_worker_id()[:12]
    decoded._set_uuid(f"{process}_{next(_names):02d}")
    return decoded


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


def read_beside_others(
    reader: RowReader, tasks: list[Columns], batch_size: int, *, own: int, workers: int
) -> Iterator[dict[str, Any]]:
    """Batches of a training worker's read tasks, with its part of the CPUs that are free now.

    Where training workers hold all CPUs, as they may after a node is lost, no read task could ever
    run: this process reads in their place, and more slowly.

    Args:
        own: streams of each worker.
        workers: workers of this run.
    """
    if not tasks:
        return
    load = load_of_cluster()
    if not load.can_read:
        logger.warning("training workers hold all CPUs: each reads its images itself, and slowly")
        yield from read_locally(reader, tasks, batch_size)
        return
    ahead = load.tasks_ahead(
        streams=own * max(workers, load.workers), task_bytes=task_bytes(reader, tasks)
    )
    yield from read_on_cluster(reader, tasks, batch_size, ahead=ahead)


def tasks_ahead(reader: RowReader, tasks: list[Columns]) -> int:
    """Maximum number of read tasks ahead of a stream that is read beside those of training runs."""
    load = load_of_cluster()
    streams = 1 + len(DOMAINS) * load.workers
    return load.tasks_ahead(streams=streams, task_bytes=task_bytes(reader, tasks))


def task_bytes(reader: RowReader, tasks: list[Columns]) -> int:
    """Decoded bytes of the largest of some read tasks (at least one)."""
    return max(len(task["row"]) for task in tasks) * reader.row_bytes


def load_of_cluster() -> Load:
    """What the cluster's nodes have, and what training workers hold of it, now."""
    return Load.of(total_resources_per_node().values())
