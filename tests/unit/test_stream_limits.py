"""Streams share CPUs and object stores: what all of them hold together has a bound."""

from __future__ import annotations

import pytest

from ier_ray.cluster.stream_limits import STORE_SHARE, Load

GIB = 2**30
TASK = 77 * 10**6
"""Bytes of 512 images of 224 pixels."""


def node(cpus: float, *held: float, store: float = 64 * GIB) -> dict[str, float]:
    """A node's resources as Ray names them, with a placement group of some parts."""
    group = "1f3ab29c"
    parts = {f"CPU_group_{index}_{group}": amount for index, amount in enumerate(held)}
    whole = {f"CPU_group_{group}": sum(held), f"bundle_group_{group}": 1000.0} if held else {}
    return {"CPU": cpus, "memory": 8e9, "object_store_memory": store, **parts, **whole}


def test_the_load_counts_parts_once_and_drivers_not() -> None:
    load = Load.of([node(16, 4.0, 4.0, 0.01), node(8, 2.5), node(4)])
    assert (load.cpus, load.workers, load.can_read) == (28, 3, True)
    assert load.free_cpus == pytest.approx(28 - 10.51)
    assert load.store_bytes == 3 * 64 * GIB


@pytest.mark.parametrize(
    ("nodes", "can_read"),
    [
        ([node(4, 3.0)], True),
        ([node(4, 1.5, 1.5, 0.01, 0.01)], True),  # drivers of two nested runs leave room
        ([node(4, 3.5)], False),
        ([node(4, 3.5), node(4, 3.5)], False),  # halves on two nodes are no CPU
        ([node(4, 4.0), node(1)], True),
        ([], False),
    ],
)
def test_a_read_task_needs_a_cpu_in_one_piece(
    nodes: list[dict[str, float]], can_read: bool
) -> None:
    assert Load.of(nodes).can_read == can_read


def test_alone_a_run_has_all_free_cpus() -> None:
    load = Load.of([node(5, 1.0)])
    assert load.tasks_ahead(streams=1, task_bytes=1) == 2 * 4 + 1
    assert load.tasks_ahead(streams=2, task_bytes=1) == 2 * 2 + 1
    assert load.tasks_ahead(streams=3, task_bytes=1) == 2 * 2 + 1
    assert load.tasks_ahead(streams=99, task_bytes=1) == 3  # never none


def test_eight_trials_on_a_large_cluster_hold_what_its_readers_can_use() -> None:
    """Each trial alone would have read 133 tasks ahead in each stream: 153 GiB together."""
    trials = 8
    load = Load.of([node(4, *[1.0] * trials, store=4 * GIB), *[node(16, store=16 * GIB)] * 8])
    streams = 2 * load.workers
    ahead = load.tasks_ahead(streams=streams, task_bytes=TASK)
    assert streams == 16
    assert ahead == 2 * 8 + 1  # 124 CPUs are free
    assert streams * ahead * TASK < 20 * GIB


@pytest.mark.parametrize("store", [0, 1, 4, 16, 64])
@pytest.mark.parametrize("workers", [1, 3, 8])
def test_the_object_store_bounds_what_all_streams_hold(store: int, workers: int) -> None:
    load = Load.of([node(64, *[1.0] * workers, store=store * GIB)])
    streams = 2 * workers
    ahead = load.tasks_ahead(streams=streams, task_bytes=TASK)
    assert ahead >= 1
    assert ahead == 1 or streams * ahead * TASK <= STORE_SHARE * store * GIB
