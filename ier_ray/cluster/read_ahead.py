"""A limit on how far Ray Data reads ahead of a stream's consumer.

Ray Data's own limits suit long pipelines of many stages. For a single stage they halve the
throughput of a short epoch: until the cluster's resources are known (about a second), only one task
runs at a time; afterwards, a consumer that keeps up is taken for one without room. One rule is
enough here: a fixed number of read tasks may be running or waiting to be consumed.

Ray Data's scheduling loop waits for running tasks. With none running and no room for another, it
would busy-wait until the consumer makes room, at the cost of about a quarter of a core per stream
of a training worker. The policy therefore sleeps in that case.
"""

from __future__ import annotations

import time

from ray.data import DataContext
from ray.data._internal.execution.backpressure_policy import (
    ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
)
from ray.data._internal.execution.backpressure_policy.backpressure_policy import BackpressurePolicy
from ray.data._internal.execution.interfaces import PhysicalOperator

LIMIT = "ier_ray.read_ahead_bytes"
TASK = "ier_ray.read_task_bytes"
REST_S = 0.05
"""Seconds that the scheduling loop sleeps when only the consumer can make room."""


def limit_read_ahead(context: DataContext, *, tasks: int, task_bytes: int) -> None:
    """Let at most ``tasks`` tasks of ``task_bytes`` decoded bytes run or wait for the consumer."""
    context.set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, [ReadAhead])
    context.set_config(LIMIT, tasks * task_bytes)
    context.set_config(TASK, task_bytes)


class ReadAhead(BackpressurePolicy):
    """Starts a task if unread rows and the output of running tasks leave room for its output.

    Running tasks are never paused: as order is preserved, the consumer may be waiting for any of
    them.
    """

    def can_add_input(self, op: PhysicalOperator) -> bool:
        """Whether one more task may start."""
        unread = self._resource_manager.get_mem_op_outputs(op, include_ineligible_downstream=True)
        task = self._data_context.get_config(TASK)
        held = unread + op.num_active_tasks() * task
        fits = bool(held + task <= self._data_context.get_config(LIMIT))
        if not fits and not op.num_active_tasks():
            time.sleep(REST_S)
        return fits
