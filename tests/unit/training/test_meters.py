"""Means over ranks, the watch over the losses, throughput, and progress in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ier_ray.data.streams import Batch, JointBatch
from ier_ray.errors import TrainingError
from ier_ray.losses import LossParts
from ier_ray.training.context import LocalContext
from ier_ray.training.meters import CHECK_EVERY, LoggedProgress, LossWatch, Sums, ThroughputMeter


def batch(size: int) -> Batch:
    images, labels = torch.zeros(size, 4, 4, 3, dtype=torch.uint8), torch.zeros(size)
    return Batch(images, labels)


def two_batches() -> Iterator[JointBatch]:
    time.sleep(0.2)
    yield JointBatch(batch(3), batch(2))
    time.sleep(0.1)
    yield JointBatch(batch(3), batch(1))


def test_the_rate_is_that_of_the_batches_after_the_first() -> None:
    bar = LoggedProgress("epoch 1/1", total=2)
    meter = ThroughputMeter(two_batches(), bar)
    assert meter.seconds() == 0
    next(meter)
    assert bar.done == 0  # the first is in work
    first_used = time.perf_counter()
    next(meter)
    assert bar.done == 1
    assert next(meter, None) is None
    assert bar.done == 2
    assert meter.images == 4
    assert 0.1 <= meter.seconds() <= time.perf_counter() - first_used  # with the second one's wait


def test_a_pass_of_one_batch_has_its_rate_without_the_wait() -> None:
    meter = ThroughputMeter(islice(two_batches(), 1), LoggedProgress("epoch 1/1", total=1))
    began = time.perf_counter()
    next(meter)
    assert next(meter, None) is None
    assert meter.images == 5
    assert 0 < meter.seconds() <= time.perf_counter() - began - 0.2


def test_lines_come_as_often_as_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seldom, often = (
        LoggedProgress("epoch 2/9", total=3),
        LoggedProgress("epoch 3/9", total=3, every_s=0),
    )
    for bar in (seldom, often):
        bar.update(1)
        bar.update(1)
        bar.close()
    assert caplog.messages == ["epoch 3/9: batch 1 of 3", "epoch 3/9: batch 2 of 3"]


class SecondRank(LocalContext):
    """Two ranks, of which the other's losses are all 1."""

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor + 1


def parts(*values: float) -> LossParts:
    return LossParts(*(torch.tensor(value) for value in values))


def test_means_are_over_batches_and_ranks(tmp_path: Path) -> None:
    watch = LossWatch(SecondRank(tmp_path, world_size=2), epoch=1, learning_rate=1.0)
    watch.add(1, [parts(1, 2, 3, 4, 5), parts(3, 4, 5, 6, 7)])
    watch.add(2, [parts(5, 6, 7, 8, 9)])
    assert watch.means() == {
        "total": 2.0,
        "fer": 2.5,
        "ier": 3.0,
        "discrepancy": 3.5,
        "regularization": 4.0,
    }


def test_a_loss_that_is_not_finite_is_named_with_its_step_and_parts(tmp_path: Path) -> None:
    watch = LossWatch(LocalContext(tmp_path), epoch=3, learning_rate=0.5)
    good, bad = parts(1, 1, 0, 0, 0), parts(float("nan"), 1.25, float("inf"), 0.5, 2)
    for step in range(1, CHECK_EVERY):
        watch.add(step, [bad if step >= 7 else good])
    (tmp_path / "last").mkdir()
    expected = (
        r"epoch 3: the loss is not finite at step 7 \(total nan, fer 1.25, ier inf, discrepancy "
        rf"0.5, regularization 2\); lower optimizer.learning_rate \(now 0.5\).*{tmp_path}/last"
    )
    with pytest.raises(TrainingError, match=expected):
        watch.add(CHECK_EVERY, [bad])


def test_a_pass_shorter_than_a_check_is_checked_in_the_end(tmp_path: Path) -> None:
    watch = LossWatch(LocalContext(tmp_path), epoch=1, learning_rate=0.5)
    watch.add(4, [parts(float("inf"), 1, 1, 1, 1)])
    with pytest.raises(TrainingError, match=r"at step 4 .* start again \(no epoch ended\)"):
        watch.means()


def test_means_divide_sums_by_counts_once() -> None:
    sums = Sums(torch.device("cpu"))
    sums.add("a", torch.tensor(6.0), 2)
    sums.add("a", torch.tensor(3.0), 1)
    other_rank = torch.tensor([[21.0, 3.0]], dtype=torch.float64)
    assert sums.means(("a",), lambda own: own + other_rank) == {"a": 5.0}
