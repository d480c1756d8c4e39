"""How many groups of equal workers fit on the nodes of a cluster, each worker on one node.

Sums over the cluster say too much: of 64 CPUs on four nodes, five workers of 12 need only 60, but
four fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

UNIT = 10_000
"""Ray counts resources in ten-thousandths; counting so too, nothing is lost by rounding."""


@dataclass(frozen=True)
class Room:
    """The resources of a node, or of each of several equal nodes."""

    cpus: float
    gpus: float = 0.0
    count: int = 1


@dataclass(frozen=True)
class Group:
    """What a run holds as long as it trains: equal workers, and a driver beside them."""

    workers: int
    cpus: float
    """CPUs of each worker."""
    gpus: float = 0.0
    """GPUs of each worker."""
    driver_cpus: float = 0.0

    def fits_on(self, room: Room) -> bool:
        """Whether a node can hold one of the workers."""
        return slots(room, self) > 0


@dataclass(frozen=True)
class Growth:
    """What an autoscaler may make of a cluster."""

    types: tuple[Room, ...]
    """The nodes it may start; ``count`` is the largest number of each type."""
    limit: int | None = None
    """The largest number of all of them together."""
    fixed: tuple[Room, ...] = ()
    """Nodes that are always there."""

    @classmethod
    def of_file(cls, config: Mapping[str, Any]) -> Growth:
        """What a file of ``ray up`` allows. Its head node is always there, and Ray starts no second
        one unless the file says how many."""
        limit, head = int(config["max_workers"]), config["head_node_type"]
        types = []
        for name, kind in config["available_node_types"].items():
            resources = kind.get("resources", {})
            types.append(
                Room(
                    cpus=float(resources.get("CPU", 0)),
                    gpus=float(resources.get("GPU", 0)),
                    count=int(kind.get("max_workers", 0 if name == head else limit)),
                )
            )
            if name == head:
                first = replace(types[-1], count=1)
        return cls(tuple(room for room in types if room.count), limit, (first,))

    def largest_for(self, group: Group) -> list[Room]:
        """The nodes of the largest cluster, those with room for most workers first."""
        left = sum(room.count for room in self.types) if self.limit is None else self.limit
        chosen = list(self.fixed)
        for room in sorted(self.types, key=lambda room: (-slots(room, group), -room.cpus)):
            count = min(room.count, left)
            left -= count
            chosen += [replace(room, count=count)] if count else []
        return chosen


def slots(room: Room, group: Group) -> int:
    """Workers of a group that fit on one node."""
    by_cpus = _units(room.cpus) // _units(group.cpus)
    return min(by_cpus, _units(room.gpus) // _units(group.gpus)) if group.gpus else by_cpus


def groups_that_fit(nodes: Sequence[Room], group: Group, *, beside: float = 0.0) -> int:
    """The number of groups that the nodes hold at the same time.

    A group's workers may be on different nodes, and its driver on any. The number is exact where
    the driver's CPUs divide a worker's, as they do unless someone asks for a third of a CPU; else
    it may be too small by one.

    Args:
        beside: CPUs that stay free on one of the nodes, for reading.
    """
    if not beside:
        return _groups_on(nodes, group)
    return max((_groups_on(left, group) for left in _without(nodes, beside)), default=0)


def groups_at_most(
    nodes: Sequence[Room], growth: Growth | None, group: Group, *, beside: float = 0.0
) -> int:
    """The number of groups that fit on the nodes, or on those that an autoscaler makes of them."""
    now = groups_that_fit(nodes, group, beside=beside)
    if growth is None:
        return now
    return max(now, groups_that_fit(growth.largest_for(group), group, beside=beside))


def _without(nodes: Sequence[Room], cpus: float) -> Iterator[list[Room]]:
    """The nodes with some CPUs taken from one of them, for each kind of node that has them."""
    for index, room in enumerate(nodes):
        if _units(room.cpus) >= _units(cpus) and room not in nodes[:index]:
            others = [*nodes[:index], replace(room, count=room.count - 1), *nodes[index + 1 :]]
            yield [*others, Room((_units(room.cpus) - _units(cpus)) / UNIT, room.gpus)]


def _groups_on(nodes: Sequence[Room], group: Group) -> int:
    """The number of groups on nodes of which nothing stays free.

    With ``g`` groups, ``total - g * workers`` of the places for workers are left to the drivers,
    beside what the workers leave over.
    """
    total = sum(room.count * slots(room, group) for room in nodes)
    driver, worker = _units(group.driver_cpus), _units(group.cpus)
    if not driver:
        return total // group.workers
    over = sum(
        room.count * ((_units(room.cpus) - slots(room, group) * worker) // driver) for room in nodes
    )
    in_a_place = worker // driver
    # The solution of g = over + (total - g * workers) * in_a_place.
    return min(
        total // group.workers,
        (over + total * in_a_place) // (1 + group.workers * in_a_place),
    )


def _units(amount: float) -> int:
    return round(amount * UNIT)
