"""How far Ray Data may read ahead of the consumer of a stream.

Ray Data's own limits suit long pipelines of many stages. For one stage they cost half of the
throughput of a short epoch: until the cluster's resources are known, about a second, one task
runs at a time; then a consumer that keeps up looks like one that has no room. One rule is enough
here: so many read tasks may be running or waiting to be consumed.

Ray Data's scheduling loop waits for running tasks; with none running and no room for another it
would turn as fast as it can, beside the consumer it serves, for as long as the consumer takes:
about a quarter of a core for each stream of a training worker. So it rests here.
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
"""Time the scheduling loop rests where only the consumer can make room."""


def limit_read_ahead(context: DataContext, *, tasks: int, task_bytes: int) -> None:
    """Let at most ``tasks`` tasks of ``task_bytes`` decoded bytes run or wait for the consumer."""
    context.set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, [ReadAhead])
    context.set_config(LIMIT, tasks * task_bytes)
    context.set_config(TASK, task_bytes)


class ReadAhead(BackpressurePolicy):
    """Starts a task where what is read, and what running tasks will have read, leaves room.

    Tasks that run are never held back: with their order preserved, the one that the consumer
    waits for may be any of them.
    """

    def can_add_input(self, op: PhysicalOperator) -> bool:
        """Whether one more task fits."""
        unread = self._resource_manager.get_mem_op_outputs(op, include_ineligible_downstream=True)
        task = self._data_context.get_config(TASK)
        held = unread + op.num_active_tasks() * task
        fits = bool(held + task <= self._data_context.get_config(LIMIT))
        if not fits and not op.num_active_tasks():
            time.sleep(REST_S)
        return fits
