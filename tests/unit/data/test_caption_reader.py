"""Reading captions from shards that have none."""

from __future__ import annotations

import pytest

from ier_ray.data.captions import CaptionReader
from ier_ray.data.order import held_out_tasks
from ier_ray.data.shards import ShardSet
from ier_ray.errors import DataError


def test_shards_without_captions_are_refused(shards: dict[str, str]) -> None:
    plain = ShardSet.open(shards["ier"])
    [task, *_] = held_out_tasks(plain.index(), rank=0, world_size=1, window=8)
    with pytest.raises(DataError, match=r"\.parquet: has no captions, .* jobs/caption\.py"):
        next(CaptionReader.of(plain, 32).read(task))
