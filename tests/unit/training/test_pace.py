"""How a pass counts its batches and shows people how far it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from itertools import islice

import pytest
import torch

from ier_ray.data.streams import Batch, JointBatch
from ier_ray.training.pace import Lines, Pace


def batch(size: int) -> Batch:
    images, labels = torch.zeros(size, 4, 4, 3, dtype=torch.uint8), torch.zeros(size)
    return Batch(images, labels, tuple("x" * size))


def two_batches() -> Iterator[JointBatch]:
    time.sleep(0.2)
    yield JointBatch(batch(3), batch(2))
    time.sleep(0.1)
    yield JointBatch(batch(3), batch(1))


def test_the_rate_is_that_of_the_batches_after_the_first() -> None:
    bar = Lines("epoch 1/1", total=2)
    pace = Pace(two_batches(), bar)
    assert pace.seconds() == 0
    next(pace)
    assert bar.done == 0  # the first is in work
    first_used = time.perf_counter()
    next(pace)
    assert bar.done == 1
    assert next(pace, None) is None
    assert bar.done == 2
    assert pace.images == 4
    assert 0.1 <= pace.seconds() <= time.perf_counter() - first_used  # with the second one's wait


def test_a_pass_of_one_batch_has_its_rate_without_the_wait() -> None:
    pace = Pace(islice(two_batches(), 1), Lines("epoch 1/1", total=1))
    began = time.perf_counter()
    next(pace)
    assert next(pace, None) is None
    assert pace.images == 5
    assert 0 < pace.seconds() <= time.perf_counter() - began - 0.2


def test_lines_come_as_often_as_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seldom, often = Lines("epoch 2/9", total=3), Lines("epoch 3/9", total=3, every_s=0)
    for bar in (seldom, often):
        bar.update(1)
        bar.update(1)
        bar.close()
    assert caplog.messages == ["epoch 3/9: batch 1 of 3", "epoch 3/9: batch 2 of 3"]
