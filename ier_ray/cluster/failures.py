"""Turning Ray's failures into errors for the user."""

from __future__ import annotations

import logging
import re
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.train import ControllerError, Result, UserCallback, WorkerGroupError
from ray.train.torch import TorchTrainer

from ier_ray import errors
from ier_ray.cluster.logs import show_in_job
from ier_ray.errors import ClusterError, IerRayError, LostWorkersError, StorageError

logger = logging.getLogger(__name__)

IN_CONSTRUCTOR = re.compile(rf"^{re.escape(errors.__name__)}\.\w+: (.*)", re.MULTILINE)
"""One of our errors in the text that is all that Ray keeps when an actor's constructor raised."""


class FailureNotice(UserCallback):
    """Ends a run when a worker meets an error that a restart would meet again, and tells others.

    Ray restarts the workers ``scaling.max_failures`` times. What a callback raises, it does not
    retry.
    """

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:  # noqa: ARG002
        """Called by Ray's controller with the exceptions of all workers that failed, by rank."""
        error = lasting(worker_exceptions)
        if error is not None:
            raise error
        show_in_job()
        logger.warning("training workers failed: %s", failures_of(worker_exceptions))


def fit(trainer: TorchTrainer) -> Result:
    """Run a trainer to its end.

    Raises:
        IerRayError: the workers' own, where it is one that a restart would meet again.
        LostWorkersError: when failures outlast the retries.
    """
    try:
        return trainer.fit()
    except WorkerGroupError as error:
        raise training_error(error.worker_failures) from error
    except ControllerError as error:
        met = lasting({0: error.controller_failure})
        if met is not None:
            raise met from error
        raise LostWorkersError(
            f"training stopped: {in_one_line(error.controller_failure)}; start it again with the "
            f"same name and settings, and it resumes from its last checkpoint"
        ) from error


def lasting(failures: dict[int, Exception]) -> IerRayError | None:
    """The first rank's error that no restart cures; storage may come back, and so may processes."""
    for _, failure in sorted(failures.items()):
        met = for_the_user(failure)
        if met is not None and not isinstance(met, (StorageError, ClusterError)):
            return met
    return None


def training_error(failures: dict[int, Exception]) -> IerRayError:
    """One error for all ranks' failures: when one rank fails, the others fail as a consequence."""
    return lasting(failures) or LostWorkersError(
        f"training failed more often than scaling.max_failures allows ({failures_of(failures)}); "
        f"started again with the same name and settings, it resumes from its last checkpoint"
    )


def failures_of(failures: dict[int, Exception]) -> str:
    """Each rank and its failure, in one line."""
    found = [(rank, for_the_user(failure) or failure) for rank, failure in sorted(failures.items())]
    return "; ".join(f"worker {rank}: {in_one_line(failure)}" for rank, failure in found)


def for_the_user(error: BaseException) -> IerRayError | None:
    """The error of ours that Ray's wrappers carry, or one for what the cluster lost.

    Returns:
        None when the error is neither: a bug of this package, or a failure nobody thought of.
    """
    inside = carried(error)
    for found in inside:
        if isinstance(found, IerRayError) and not isinstance(found, RayTaskError):
            return found
    for found in inside:
        if isinstance(found, RayError) and not isinstance(found, RayTaskError):
            return constructors_error(found) or ClusterError(
                f"the cluster failed: {type(found).__name__}: {str(found).strip().splitlines()[0]}"
            )
    return None


def told(error: BaseException) -> str:
    """What the user is told of an error, in one line."""
    return str(for_the_user(error) or in_one_line(error))


def carried(error: BaseException) -> list[BaseException]:
    """An error and all errors that it carries, each once, from the outside in."""
    found, left = [], [error]
    while left:
        outer = left.pop(0)
        if outer in found:  # an error of a worker may be raised again from its own wrapper
            continue
        found.append(outer)
        inner = [
            getattr(outer, "cause", None),
            outer.__cause__,
            *getattr(outer, "worker_failures", {}).values(),
            getattr(outer, "controller_failure", None),
        ]
        left.extend(one for one in inner if isinstance(one, BaseException))
    return found


def constructors_error(error: RayError) -> IerRayError | None:
    """The error of ours that an actor's constructor raised, if that is why the actor died."""
    found = IN_CONSTRUCTOR.findall(str(error)) if getattr(error, "actor_init_failed", False) else []
    return IerRayError(found[-1]) if found else None


def in_one_line(failure: BaseException) -> str:
    """An error's class and the last line of its text: Ray's error texts are pages long."""
    while isinstance(failure, RayTaskError):  # its own text ends in Ray's advice
        failure = failure.cause
    last = [line.strip() for line in str(failure).splitlines() if line.strip()][-1:]
    return ": ".join([type(failure).__name__, *last])
