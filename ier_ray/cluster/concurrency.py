"""How many trials of a sweep may run, which follows the cluster as nodes come and go."""

from __future__ import annotations

import logging
import time

from ier_ray.cluster.capacity import concurrent_groups
from ier_ray.cluster.nodes import UnknownGrowth, alive_nodes, growth_of_cluster
from ier_ray.cluster.packing import Group, Growth

logger = logging.getLogger(__name__)

VALID_S = 2.0
"""Seconds for which a count of nodes is used again: Tune asks many times a second."""


class TrialsThatFit:
    """Counts the trials that the cluster has room for, each time it is called.

    Tune itself needs no limit: a trial that has been proposed waits until the cluster has its
    resources, and an autoscaler starts nodes for it. But without one, trials would take the last
    CPU, on which their data are read.

    Args:
        trial: what each trial holds.
        most: the largest number, however much room there is.
    """

    def __init__(self, trial: Group, most: int | None = None) -> None:
        self.trial = trial
        self.most = most
        self._growth: Growth | UnknownGrowth | None = None
        self._counted, self._valid_until = 0, 0.0

    def __call__(self) -> int:
        """How many trials may be live now."""
        if not self._valid_until:
            self._growth = growth_of_cluster(alive_nodes())
        if time.monotonic() > self._valid_until:
            self._valid_until = time.monotonic() + VALID_S
            found = concurrent_groups(self.trial, self._growth)
            found = found if self.most is None else min(self.most, found)
            if self._counted not in (0, found):
                logger.info("trials at the same time: %d (were %d)", found, self._counted)
            self._counted = found
        return self._counted
