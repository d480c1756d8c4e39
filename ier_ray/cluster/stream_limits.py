"""How far ahead a stream may read, and whether it finds a CPU for it: pure arithmetic.

Training workers hold placement groups, which Ray counts as resources of the nodes they are on:
``CPU_group_0_1f3a`` are the CPUs of the first worker of group ``1f3a``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

Resources = Mapping[str, float]
"""Total resources of a node, by their names."""

BUNDLE = re.compile(r"CPU_group_\d+_[0-9a-f]+")
DRIVER = 0.1
"""CPUs of a placement group's part that holds a driver, at most."""
READ_CPUS = 0.9
"""CPUs of a read task, which must stay free beside training; without them, it would wait for ever.

The rest of a whole CPU is room for the drivers of nested runs: otherwise two trials and a reader
that fill a machine exactly would not fit, by the hundredth of a CPU that each driver holds.
"""
STORE_SHARE = 0.5
"""Fraction of the object store for what is read ahead; the rest is for what is being consumed."""


@dataclass(frozen=True)
class Load:
    """What the cluster's nodes have, and what training workers hold of it."""

    cpus: float
    free_cpus: float
    """CPUs that no placement group holds."""
    can_read: bool
    """Whether some node has a CPU for a read task that no placement group holds."""
    workers: int
    """Live training workers of all runs."""
    store_bytes: float
    """Memory of all object stores."""

    @classmethod
    def of(cls, nodes: Collection[Resources]) -> Load:
        """The load of a cluster."""
        held = [_bundles(node) for node in nodes]
        free = [node.get("CPU", 0.0) - sum(cpus) for node, cpus in zip(nodes, held, strict=True)]
        return cls(
            cpus=sum(node.get("CPU", 0.0) for node in nodes),
            free_cpus=sum(free),
            can_read=max(free, default=0.0) >= READ_CPUS,
            workers=sum(amount > DRIVER for cpus in held for amount in cpus),
            store_bytes=sum(node.get("object_store_memory", 0.0) for node in nodes),
        )

    def tasks_ahead(self, *, streams: int, task_bytes: int) -> int:
        """Maximum number of a stream's read tasks that run or wait for the consumer.

        One running task per CPU of its share, as many waiting to be consumed, and one waiting to
        run; fewer, but one at least, if all streams' tasks would fill the object store.

        Args:
            streams: streams that are read at the same time, of all runs.
            task_bytes: decoded bytes of a task.
        """
        by_cpus = 2 * max(1, math.ceil(self.free_cpus / streams)) + 1
        by_store = STORE_SHARE * self.store_bytes / streams // task_bytes
        return max(1, min(by_cpus, int(by_store)))


def _bundles(node: Resources) -> list[float]:
    """CPUs of each part of a placement group on a node."""
    return [amount for name, amount in node.items() if BUNDLE.fullmatch(name)]
