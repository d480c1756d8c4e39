"""Which samples streams give: rows have names, the batches that networks train on have none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ier_ray.data.order import Columns
from ier_ray.data.schema import Domain
from ier_ray.data.shards import RowReader
from ier_ray.data.streams import JointStreams

Names = dict[Domain, list[list[str]]]


def named(streams: JointStreams) -> tuple[JointStreams, Names]:
    """The same streams, and the names of the samples in each batch that has been read of them."""
    names: Names = {"fer": [], "ier": []}

    def execute(
        reader: RowReader, tasks: list[Columns], batch_size: int
    ) -> Iterator[dict[str, Any]]:
        domain: Domain = "fer" if reader.files == streams.splits["fer"].files else "ier"
        for rows in streams.execute(reader, tasks, batch_size):
            names[domain].append(rows["sample_id"].tolist())
            yield rows

    return replace(streams, execute=execute), names


def names_of_epoch(streams: JointStreams, epoch: int) -> Names:
    """The names of the samples in each batch of an epoch."""
    noted, names = named(streams)
    for _ in noted.train(epoch):
        pass
    return names
