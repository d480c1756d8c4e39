"""Joining a cluster, or starting one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data
from ray._private.ray_constants import RAY_API_SERVER_ADDRESS_ENVIRONMENT_VARIABLE
from ray.exceptions import RayError
from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE

from ier_ray.cluster.addresses import address_to_join
from ier_ray.cluster.logs import sort_worker_output
from ier_ray.errors import ClusterError


def connect() -> None:
    """Join the submitter's cluster, or start one on this machine, for a job.

    Raises:
        ClusterError: as :func:`join`.
    """
    join()
    sort_worker_output()
    quiet_data()


def join() -> None:
    """Join the submitter's cluster, or start one on this machine, unless that is done.

    ``ray.init`` gets no runtime environment, and an address only to start a cluster in place of a
    dead one: both belong to the submitter (``ray job submit``, ``RAY_ADDRESS``).

    Raises:
        ClusterError: when the cluster does not answer, or refuses this process, or none can be
            started.
    """
    if ray.is_initialized():
        return
    try:
        ray.init(address_to_join(), logging_level=logging.WARNING)
    except (RayError, OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"Ray cannot join or start a cluster: {' '.join(str(error).split())}"
        ) from error


@contextmanager
def named_cluster() -> Iterator[None]:
    """Tell the processes of Ray Train runs that start here which cluster they belong to.

    The one that frees a dead run's resources asks Ray's state API whether the run is alive, and
    names no cluster. With another Ray instance on the machine, it would fail, or ask that one and
    take a healthy run for dead. Ray Train passes the variable on, once it is told to.
    """
    variable = RAY_API_SERVER_ADDRESS_ENVIRONMENT_VARIABLE
    ENV_VARS_TO_PROPAGATE.add(variable)
    before = os.environ.get(variable)
    os.environ[variable] = ray.get_runtime_context().gcs_address
    try:
        yield
    finally:
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before


def quiet_data() -> None:
    """Make Ray Data log warnings only, draw no progress bars, and raise tasks' original errors."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # It warns that there are no progress bars.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
