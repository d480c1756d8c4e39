"""Whether what a job needs can ever be there at the same time, on nodes as they are."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import ray

from ier_ray.cluster.connection import connect
from ier_ray.cluster.nodes import UnknownGrowth, alive_nodes, growth_of_cluster
from ier_ray.cluster.packing import Group, Growth, Room, groups_at_most, groups_that_fit
from ier_ray.cluster.stream_limits import READ_CPUS
from ier_ray.errors import CapacityError

logger = logging.getLogger(__name__)


def join_for(workers: int, *, cpus: float = 1.0, others: float = 0.0) -> float:
    """Join the cluster, or start one, and check that all workers fit on it at the same time.

    Args:
        workers: copies of the network, each with a GPU if the cluster has any.
        cpus: CPUs of each worker.
        others: CPUs that must stay free beside them.

    Returns:
        GPUs of each worker: 1 or 0.

    Raises:
        CapacityError: when the cluster can never fit them, so that they would wait for ever.
    """
    connect()
    gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
    beside = f" and {others:g} CPUs to read data" if others else ""
    require(
        Group(workers, cpus, gpus),
        beside=others,
        what=f"{workers} workers of {cpus:g} CPUs{beside}",
        cure="lower workers",
    )
    return gpus


def require(group: Group, *, beside: float, what: str, cure: str) -> None:
    """Raise if the cluster can never hold a group of workers, each on one node.

    A cluster is what its nodes are now or, with an autoscaler, the nodes that this may start. Where
    the autoscaler does not say, a group that does not fit now is only a warning.

    Args:
        beside: CPUs that must stay free on one node.

    Raises:
        CapacityError: naming what is needed, what is available, and the cure.
    """
    nodes = alive_nodes()
    rooms = [node.room for node in nodes]
    if groups_that_fit(rooms, group, beside=beside):
        return
    growth = growth_of_cluster(nodes)
    known = None if isinstance(growth, UnknownGrowth) else growth
    if groups_at_most(rooms, known, group, beside=beside):
        return
    lacking = f"{what} needs {demand(group, beside)}, {supply(rooms, known, group)}; {cure}"
    if not isinstance(growth, UnknownGrowth):
        raise CapacityError(lacking)
    logger.warning("%s, unless the autoscaler starts nodes that suffice", lacking)


def demand(group: Group, beside: float) -> str:
    """CPUs and GPUs of a group and of what is beside it."""
    cpus = group.workers * group.cpus + group.driver_cpus + beside
    return f"{cpus:g} CPUs and {group.workers * group.gpus:g} GPUs"


def supply(rooms: Sequence[Room], growth: Growth | None, group: Group) -> str:
    """What the cluster has or may get, and how many of the workers that is enough for."""
    largest = rooms if growth is None else growth.largest_for(group)
    cpus, gpus = (sum(getattr(r, name) * r.count for r in largest) for name in ("cpus", "gpus"))
    count = sum(room.count for room in largest)
    worker = Group(1, group.cpus, group.gpus)
    fit = groups_that_fit(largest, worker)
    grown = "" if growth is None else ", with all that its autoscaler may start"
    return (
        f"the cluster has {cpus:g} and {gpus:g}{grown}; on its {count} "
        f"node{'s' * (count > 1)}, each worker on one, "
        f"{fit} such worker{'s fit' if fit != 1 else ' fits'}"
    )


def concurrent_groups(group: Group, growth: Growth | UnknownGrowth | None) -> int:
    """How many groups may be held at the same time, with a CPU kept free for reading data.

    With an autoscaler these are the groups that fit on the nodes that it may start: it starts them
    for groups that wait. Where it does not say, one more waits than fits now, so that the cluster
    grows as long as it can.

    Args:
        growth: as :func:`~ier_ray.cluster.nodes.growth_of_cluster` found it.
    """
    rooms = [node.room for node in alive_nodes()]
    if isinstance(growth, UnknownGrowth):
        return groups_that_fit(rooms, group, beside=READ_CPUS) + 1
    return max(1, groups_at_most(rooms, growth, group, beside=READ_CPUS))
