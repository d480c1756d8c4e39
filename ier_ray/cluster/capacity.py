"""Joining a cluster that has room for copies of a network."""

from __future__ import annotations

import ray

from ier_ray.cluster.connection import Demand, connect, require


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
    beside = f" and {others:g} CPU to read data" if others else ""
    require(
        Demand(cpus=workers * cpus + others, gpus=workers * gpus),
        what=f"{workers} workers of {cpus:g} CPUs{beside}",
        cure="lower workers",
    )
    return gpus
