"""How many masked images are computed at once: as memory allows, and fewer when it runs out."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from support.networks import both_ways, crooked
from torch import Tensor, nn
from torch.nn import functional

from ier_ray.explain import DenseEvaluator, RegionTree, evaluators
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.memory import in_batches, planned_bytes


def limit(patch: pytest.MonkeyPatch, largest: int, error: Exception) -> None:
    """Make this a machine whose memory holds ``largest`` images before a dense layer."""
    original = functional.linear

    def check(maps: Tensor, *weights: Tensor) -> Tensor:
        if len(maps) > largest:
            raise error
        return original(maps, *weights)

    patch.setattr(functional, "linear", check)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        MemoryError(),
    ],
)
def test_batches_are_halved_when_memory_runs_out(
    error: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan.of(RegionTree.halving(16, 16, depth=5), "both")
    expected, _ = both_ways(crooked(), plan.masking, 16, 16)
    limit(monkeypatch, 10, error)
    with caplog.at_level(logging.WARNING):
        found, dense = both_ways(crooked(), plan.masking, 16, 16)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dense, expected, rtol=1e-10, atol=1e-12)
    halvings = [record.args for record in caplog.records]
    assert halvings == [(61,), (30,), (15,), (7,), (8,)]


def test_other_errors_and_single_rows_are_not_retried() -> None:
    def fail(error: Exception, smallest: int) -> list[tuple[slice, None]]:
        def run(rows: slice) -> None:
            if rows.stop - rows.start >= smallest:
                raise error

        return in_batches(8, 4, run)

    with pytest.raises(RuntimeError, match="shape mismatch"):
        fail(RuntimeError("shape mismatch"), 2)
    with pytest.raises(MemoryError):
        fail(MemoryError(), 1)
    assert [rows for rows, _ in fail(MemoryError(), 3)] == [slice(i, i + 2) for i in (0, 2, 4, 6)]


def test_planned_memory_is_a_part_of_what_is_free() -> None:
    pages = planned_bytes(torch.device("cpu"))
    assert 0 < pages <= 2**30


def test_dense_batches_are_as_large_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two 4x4 maps of float32, changed in place and flattened as they are, and three logits."""
    seen = []

    class Watched(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(len(images))
            return super().forward(images)

    network = Watched(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(32, 3))
    network.eval()
    examined = [1] * 5 + [2] * 3
    a_row = 4 * (32 + 3)
    masking = Plan.of(RegionTree.halving(6, 6, depth=4), "both").masking
    for planned, batches in ((7 * a_row + 1, [7] * 8 + [4]), (a_row - 1, [1] * 60)):
        monkeypatch.setattr(evaluators, "planned_bytes", lambda device, planned=planned: planned)
        seen.clear()
        DenseEvaluator(network, torch.rand(1, 6, 6), torch.zeros(1, 6, 6))(masking)
        assert seen == [*examined, 1, *batches]
