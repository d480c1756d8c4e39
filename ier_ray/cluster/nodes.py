"""The nodes of the joined cluster, and those that its autoscaler may start."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import ray
import yaml
from ray._common.usage.usage_constants import KUBERAY_ENV
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ier_ray.cluster.packing import Growth, Room

ANSWER_S = 10.0
"""Seconds that a node may take to answer; most of them start a process."""
BOOTSTRAP = "~/ray_bootstrap_config.yaml"
"""The cluster's file, as ``ray up`` leaves it on the head node."""
HEAD = "node:__internal_head__"
"""Resource that only the head node has."""
NODE_GROUP = "ray.io/node-group"
"""Label of nodes that some autoscaler has started."""
UNLIMITED = 1000
"""Nodes of a type that are reckoned with where the autoscaler has no limit."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Node:
    """A node that is alive."""

    id: str
    address: str
    room: Room
    is_head: bool
    autoscaled: bool
    """Whether an autoscaler has started it."""

    def __str__(self) -> str:
        return f"node {self.id[:8]} ({self.address})"


class UnknownGrowth:
    """An autoscaler that does not say what it may start, such as that of Kubernetes."""


def alive_nodes() -> list[Node]:
    """The cluster's nodes, the head node first."""
    nodes = [node_of(record) for record in ray.nodes() if record["Alive"]]
    return sorted(nodes, key=lambda node: (not node.is_head, node.id))


def node_of(record: Mapping[str, Any]) -> Node:
    """A node as ``ray.nodes()`` describes it."""
    resources = record["Resources"]
    return Node(
        id=record["NodeID"],
        address=record["NodeManagerAddress"],
        room=Room(resources.get("CPU", 0.0), resources.get("GPU", 0.0)),
        is_head=HEAD in resources,
        autoscaled=bool((record.get("Labels") or {}).get(NODE_GROUP)),
    )


def growth_of_cluster(nodes: list[Node]) -> Growth | UnknownGrowth | None:
    """What the cluster's autoscaler may start; None if there is no autoscaler.

    Only the head node knows. A cluster that this process has started has no autoscaler.
    """
    node = ray._private.worker._global_node  # no public API tells who started the cluster
    if node is not None and node.is_head():
        return None
    answers, silent = on_nodes(growth_known_here, [node for node in nodes if node.is_head])
    growth = next(iter(answers.values()), None)
    if growth is None and (silent or any(node.autoscaled for node in nodes)):
        return UnknownGrowth()
    return growth


def growth_known_here() -> Growth | UnknownGrowth | None:
    """What the autoscaler may start, as the head node, which this runs on, knows it."""
    reported = ray._private.state.state.get_cluster_config()
    if reported is not None and reported.node_group_configs:
        return Growth(tuple(reported_room(group) for group in reported.node_group_configs))
    file = Path(BOOTSTRAP).expanduser()
    if file.exists():
        return Growth.of_file(yaml.safe_load(file.read_text()))
    return UnknownGrowth() if KUBERAY_ENV in os.environ else None


def reported_room(group: Any) -> Room:
    """A type of nodes as an autoscaler reports it; -1 is no limit."""
    count = UNLIMITED if group.max_count < 0 else group.max_count
    return Room(group.resources.get("CPU", 0), group.resources.get("GPU", 0), count)


def on_nodes(
    call: Callable[[], Found], nodes: list[Node], *, patience: float = 0.0
) -> tuple[dict[Node, Found], list[Node]]:
    """What a function without arguments returns on each node, and the nodes that do not answer.

    It needs no CPU that could be taken, and is given up after :data:`ANSWER_S` seconds.

    Args:
        patience: seconds to wait longer for a first answer: the only node of a busy machine may
            need them to start a process.
    """
    task = ray.remote(num_cpus=0, max_retries=0)(called)
    asked = {
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(call): node
        for node in nodes
    }
    if not asked:
        return {}, []
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    if not answered:
        answered, silent = ray.wait(list(asked), num_returns=1, timeout=patience)
    for reference in silent:
        ray.cancel(reference, force=True)
    answers, lost = {}, [asked[reference] for reference in silent]
    for reference in answered:
        try:
            answers[asked[reference]] = ray.get(reference)
        except RayError:  # the node is gone
            lost.append(asked[reference])
    return answers, lost


def called(call: Callable[[], Found]) -> Found:
    """The result of a call: Ray runs functions, but no methods of objects."""
    return call()
