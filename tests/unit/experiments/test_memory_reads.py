"""Reads from memory give the batches of reads from files."""

from __future__ import annotations

import pytest
import torch

from ier_ray.data import shards as module
from ier_ray.data.images import Pixels, decode_square
from ier_ray.data.parts import SplitPlan
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import ExecuteReads, JointStreams, read_locally
from ier_ray.experiments.memory_reads import MemoryReads


def streams(shards: dict[str, str], execute: ExecuteReads, mix: float = 0.0) -> JointStreams:
    fer, ier = (
        SplitIndex.read(ShardSet.open(shards[domain]), SplitPlan()) for domain in ("fer", "ier")
    )
    if mix:
        fer = fer.mixed_with(ier, fraction=mix, seed=0)
    return JointStreams(fer, ier, Preprocessing(32), batch_size=16, seed=1, execute=execute)


@pytest.mark.parametrize("mix", [0.0, 0.5])
@pytest.mark.parametrize("capacity", [2**30, 0])
def test_the_same_batches(shards: dict[str, str], mix: float, capacity: int) -> None:
    reads = MemoryReads(capacity)
    ours, theirs = streams(shards, reads, mix), streams(shards, read_locally, mix)
    for epoch in (0, 1):
        pairs = list(zip(ours.train(epoch), theirs.train(epoch), strict=True))
        assert len(pairs) > 3
        for one, other in pairs:
            for domain in ("fer", "ier"):
                a, b = getattr(one, domain), getattr(other, domain)
                assert torch.equal(a.images, b.images)
                assert torch.equal(a.labels, b.labels)
                assert torch.equal(a.keys, b.keys)
    for held, read in zip(ours.validation("fer"), theirs.validation("fer"), strict=True):
        assert torch.equal(held.images, read.images)
    assert (reads.held > 0) is (capacity > 0)


def test_each_image_is_decoded_once(
    shards: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []

    def counted(encoded: bytes, size: int) -> Pixels:
        decoded.append(size)
        return decode_square(encoded, size)

    monkeypatch.setattr(module, "decode_square", counted)
    read = streams(shards, MemoryReads())
    for epoch in range(2):
        list(read.train(epoch))
    list(read.validation("ier"))
    assert len(decoded) == sum(ShardSet.open(shards[d]).manifest.rows for d in ("fer", "ier"))
