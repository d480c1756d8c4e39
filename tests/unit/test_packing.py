"""How many workers fit on nodes: against trying every placement, and on clusters worked by hand."""

from __future__ import annotations

import itertools
import random
from functools import cache
from typing import Any

import pytest
import yaml
from support.runs import ROOT

from ier_ray.cluster.packing import (
    Group,
    Growth,
    Room,
    groups_at_most,
    groups_that_fit,
)
from ier_ray.cluster.stream_limits import READ_CPUS


@cache
def fits(nodes: tuple[tuple[float, float], ...], demands: tuple[tuple[float, float], ...]) -> bool:
    """Whether some placement holds all demands (CPUs, GPUs), each on one node."""
    if not demands:
        return True
    (cpus, gpus), *others = demands
    left = (
        [*nodes[:index], (node[0] - cpus, node[1] - gpus), *nodes[index + 1 :]]
        for index, node in enumerate(nodes)
        if node[0] >= cpus and node[1] >= gpus
    )
    return any(fits(tuple(sorted(found)), tuple(others)) for found in left)


def by_trying(nodes: list[Room], group: Group, beside: float) -> int:
    """The largest number of groups for which some placement is found."""
    one = [(group.cpus, group.gpus)] * group.workers + [(group.driver_cpus, 0.0)]
    for count in itertools.count(1):
        demands = [(beside, 0.0), *one * count]
        demands.sort(reverse=True)  # large ones first: it fails sooner
        if not fits(tuple((room.cpus, room.gpus) for room in nodes), tuple(demands)):
            return count - 1
    raise AssertionError


def test_every_small_cluster_holds_what_trying_finds() -> None:
    chance = random.Random(3)
    found = set()
    for _ in range(3000):
        nodes = [
            Room(chance.choice((0.0, 1.0, 1.5, 2.0, 3.0, 4.0)), float(chance.choice((0, 1, 2))))
            for _ in range(chance.randint(1, 3))
        ]
        group = Group(
            workers=chance.randint(1, 3),
            cpus=chance.choice((0.5, 1.0, 2.0)),
            gpus=float(chance.choice((0, 0, 1))),
            driver_cpus=chance.choice((0.0, 0.5)),
        )
        beside = chance.choice((0.0, 0.5, 1.0))
        expected = by_trying(nodes, group, beside)
        assert groups_that_fit(nodes, group, beside=beside) == expected, (nodes, group, beside)
        found.add(expected)
    assert found >= {0, 1, 2, 3, 4}  # the cases are of all kinds


def test_a_worker_is_on_one_node() -> None:
    four = [Room(16.0, count=4)]
    assert groups_that_fit(four, Group(workers=1, cpus=12.0), beside=1.0) == 4  # sums say 5
    assert groups_that_fit(four, Group(workers=5, cpus=12.0), beside=1.0) == 0
    assert groups_that_fit(four, Group(workers=1, cpus=16.0), beside=1.0) == 3
    assert groups_that_fit([Room(16.0, gpus=1.0, count=4)], Group(1, 4.0, gpus=1.0)) == 4


def test_readers_need_a_cpu_in_one_piece() -> None:
    halves = [Room(2.5), Room(2.5)]
    assert groups_that_fit(halves, Group(workers=1, cpus=1.0)) == 4
    assert groups_that_fit(halves, Group(workers=1, cpus=1.0), beside=1.0) == 3
    assert groups_that_fit([Room(0.5), Room(0.0)], Group(workers=1, cpus=0.25), beside=1.0) == 0


@pytest.mark.parametrize(
    ("cpus", "count"), [(5.0, 3), (5.04, 4), (5.03, 3), (104.03, 102), (104.02, 102), (104.01, 101)]
)
def test_drivers_take_slivers_of_a_cpu(cpus: float, count: int) -> None:
    group = Group(workers=1, cpus=1.0, driver_cpus=0.01)
    assert groups_that_fit([Room(cpus)], group, beside=1.0) == count


def test_two_nested_trials_and_a_reader_fill_a_machine() -> None:
    trial = Group(workers=2, cpus=1.0, driver_cpus=0.01)
    assert groups_that_fit([Room(5.0)], trial, beside=READ_CPUS) == 2


def test_equal_nodes_may_be_given_together() -> None:
    group = Group(workers=3, cpus=2.0, driver_cpus=0.5)
    for count in range(1, 9):
        together = groups_that_fit([Room(7.0, count=count)], group, beside=1.0)
        assert together == groups_that_fit([Room(7.0)] * count, group, beside=1.0)


GPU_TRIAL = Group(workers=1, cpus=4.0, gpus=1.0)
HEAD = Room(4.0)


def test_a_cluster_that_starts_without_gpus_may_grow() -> None:
    growth = Growth((Room(16.0, 1.0, count=8),), limit=8, fixed=(HEAD,))
    assert groups_at_most([HEAD], None, GPU_TRIAL, beside=1.0) == 0
    assert groups_at_most([HEAD], growth, GPU_TRIAL, beside=1.0) == 8


def test_the_autoscaler_starts_no_more_nodes_than_its_limit() -> None:
    types = (Room(64.0, count=10), Room(16.0, 1.0, count=6), Room(16.0, 4.0, count=2))
    for limit, count in {None: 14, 18: 14, 5: 11, 2: 8, 1: 4, 0: 0}.items():
        growth = Growth(types, limit=limit, fixed=(HEAD,))
        assert groups_at_most([HEAD], growth, GPU_TRIAL) == count


def test_the_shipped_cluster_file_allows_eight_trials_with_a_gpu() -> None:
    growth = Growth.of_file(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    types = (Room(16.0, count=4), Room(16.0, 1.0, count=8))
    assert growth == Growth(types, limit=16, fixed=(Room(0.0),))
    assert groups_at_most([Room(0.0)], growth, GPU_TRIAL, beside=1.0) == 8


def test_a_cluster_file_may_allow_more_nodes_like_the_head() -> None:
    kinds: dict[str, dict[str, Any]] = {
        "h": {"resources": {"CPU": 2}, "max_workers": 3},
        "w": {},
    }
    config = {"max_workers": 5, "head_node_type": "h", "available_node_types": kinds}
    expected = Growth((Room(2.0, count=3), Room(0.0, count=5)), limit=5, fixed=(Room(2.0),))
    assert Growth.of_file(config) == expected


def test_nodes_that_are_there_count_even_if_the_autoscaler_knows_them_not() -> None:
    growth = Growth((Room(16.0, 1.0, count=1),))
    assert groups_at_most([Room(16.0, 4.0)], growth, GPU_TRIAL) == 4


def test_a_node_can_hold_a_worker_if_it_has_all_it_needs() -> None:
    assert GPU_TRIAL.fits_on(Room(4.0, 1.0))
    assert not GPU_TRIAL.fits_on(Room(3.9, 1.0))
    assert not GPU_TRIAL.fits_on(Room(64.0))
