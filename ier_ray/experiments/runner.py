"""Runs units on the cluster, up to its capacity, each once; a killed experiment resumes."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from tqdm import tqdm

from ier_ray.cluster.capacity import require
from ier_ray.cluster.connection import connect
from ier_ray.cluster.failures import in_one_line
from ier_ray.cluster.forecast import duration
from ier_ray.cluster.nodes import UnknownGrowth, alive_nodes, growth_of_cluster
from ier_ray.cluster.packing import Group, groups_at_most
from ier_ray.cluster.runs import group_of
from ier_ray.experiments.store import UnitStore
from ier_ray.experiments.units import Unit, UnitResult
from ier_ray.experiments.work import Worker, failed

logger = logging.getLogger(__name__)

RETRIES = 1
"""Times that a unit runs again after its worker died."""
LINE_EVERY_S = 30.0
"""Seconds between two lines of progress where there is no terminal."""


@dataclass
class Progress:
    """A bar, or lines in a log; each with how long the rest takes."""

    total: int
    done: int = 0
    failed: int = 0
    started: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.bar = tqdm(total=self.total, unit="unit", desc="cells", disable=not self.terminal)

    def add(self, result: UnitResult) -> None:
        """Count a result."""
        self.done += 1
        self.failed += result.failed is not None
        self.bar.update()
        self.bar.set_postfix_str(f"{self.failed} failed" if self.failed else "")
        now = time.monotonic()
        if not self.terminal and (now - self.last >= LINE_EVERY_S or self.done == self.total):
            self.last = now
            left = (now - self.started) / self.done * (self.total - self.done)
            logger.info(
                "%d of %d units ended, %d failed; the rest takes about %s",
                self.done,
                self.total,
                self.failed,
                duration(left),
            )


def run_units(
    units: Sequence[Unit], store: UnitStore, *, at_once: int | None = None
) -> dict[str, UnitResult]:
    """The results of all units, by key; those that are stored and did not fail are not run again.

    Args:
        units: with repeats; equal keys run once.
        at_once: largest number of units at the same time.

    Raises:
        CapacityError: when a unit can never fit on the cluster.
    """
    wanted = {unit.key: unit for unit in units}
    results = {key: found for key in wanted if (found := store.read(key)) and not found.failed}
    left = [unit for key, unit in wanted.items() if key not in results]
    logger.info("%d units, %d of them finished before", len(wanted), len(results))
    if not left:
        return results
    connect()
    progress = Progress(len(left))
    for in_process in (True, False):
        chosen = [unit for unit in left if unit.in_process is in_process]
        if chosen:
            results |= run_on_workers(chosen, store, progress, at_once)
    progress.bar.close()
    return results


def run_on_workers(
    units: Sequence[Unit], store: UnitStore, progress: Progress, at_once: int | None
) -> dict[str, UnitResult]:
    """Run units of one kind of worker; the longest-waiting unit is next."""
    first = units[0]
    count = min(at_once or room_for(first), room_for(first), len(units))
    waiting, tries = list(units), dict.fromkeys((unit.key for unit in units), 0)
    busy: dict[Any, tuple[Any, Unit]] = {}
    results: dict[str, UnitResult] = {}
    idle = [new_worker(first, store) for _ in range(count)]
    while waiting or busy:
        while waiting and idle:
            worker, unit = idle.pop(), waiting.pop(0)
            busy[worker.run.remote(unit)] = worker, unit
        (ready,), _ = ray.wait(list(busy), num_returns=1)
        worker, unit = busy.pop(ready)
        try:
            result: UnitResult = ray.get(ready)
            idle.append(worker)
        except RayActorError as error:
            idle.append(new_worker(first, store))
            tries[unit.key] += 1
            if tries[unit.key] <= RETRIES:
                logger.warning("a worker died (%s); its unit runs again", in_one_line(error))
                waiting.insert(0, unit)
                continue
            result = failed(unit, error)
            store.write(result)
        except RayError as error:
            idle.append(worker)
            result = failed(unit, error)
            store.write(result)
        results[unit.key] = result
        progress.add(result)
    for worker in idle:
        ray.kill(worker)
    return results


def new_worker(unit: Unit, store: UnitStore) -> Any:
    """An actor for units like this one; that of a Ray Train run holds no CPU itself."""
    cpus = unit.train.scaling.cpus_per_worker if unit.in_process else 0
    threads = max(1, int(cpus)) if unit.in_process else None
    actor = ray.remote(Worker).options(num_cpus=cpus, max_restarts=0)
    return actor.remote(store, threads)


def require_room(units: Sequence[Unit]) -> None:
    """Join the cluster, and raise :class:`CapacityError` if any unit can never fit on it."""
    if not units:
        return
    connect()
    for unit in {unit.in_process: unit for unit in units}.values():
        room_for(unit)


def room_for(unit: Unit) -> int:
    """How many units like this one the cluster can hold at the same time, at least one.

    Raises:
        CapacityError: when it can never hold one.
    """
    scaling = unit.train.scaling
    group = Group(1, scaling.cpus_per_worker) if unit.in_process else group_of(unit.train)
    require(
        group,
        beside=0.0,
        what=f"a cell with {group.workers} workers of {group.cpus:g} CPUs",
        cure="lower scaling.cpus_per_worker or scaling.num_workers, or add nodes",
    )
    nodes = alive_nodes()
    growth = growth_of_cluster(nodes)
    known = None if isinstance(growth, UnknownGrowth) else growth
    return max(1, groups_at_most([node.room for node in nodes], known, group))
