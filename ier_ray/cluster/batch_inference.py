"""Batch inference: actors with a copy of a network, fed with rows that Ray tasks decode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from ier_ray.cluster.capacity import join_for
from ier_ray.cluster.stream_limits import READ_CPUS
from ier_ray.cluster.streams import decoded_rows, tasks_ahead
from ier_ray.data.order import Columns, held_out_tasks
from ier_ray.data.shards import RowIndex, RowReader

BATCH = 64
"""Images per forward pass."""
WINDOW = 8
"""Row groups per read task."""


def tasks_of(index: RowIndex) -> list[Columns]:
    """Read tasks for all rows of an index, each row once, in its order."""
    return held_out_tasks(index, rank=0, world_size=1, window=WINDOW)


def infer(
    reader: RowReader,
    tasks: list[Columns],
    stage: type,
    arguments: tuple[Any, ...],
    *,
    workers: int,
) -> dict[str, NDArray[Any]]:
    """The columns that a stage computes, concatenated; see :func:`computed_batches`."""
    batches = list(computed_batches(reader, tasks, stage, arguments, workers=workers))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def computed_batches(
    reader: RowReader,
    tasks: list[Columns],
    stage: type,
    arguments: tuple[Any, ...],
    *,
    workers: int,
    batch: int = BATCH,
) -> Iterator[dict[str, NDArray[Any]]]:
    """What a stage computes from the rows of read tasks (at least one), batch by batch.

    Args:
        stage: class of the actors, called with batches of decoded rows.
        arguments: of its constructor.
        workers: number of actors.
        batch: images of a call.

    Raises:
        CapacityError: when the actors can never fit on the cluster.
    """
    gpus = join_for(workers, others=READ_CPUS)
    computed = decoded_rows(reader, tasks, ahead=tasks_ahead(reader, tasks)).map_batches(
        stage,
        fn_constructor_args=arguments,
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=gpus,
    )
    yield from computed.iter_batches(batch_size=None, batch_format="numpy")
