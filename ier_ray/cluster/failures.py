"""Running a trainer, and turning Ray's failures into errors for the user."""

from __future__ import annotations

from typing import Any

from ray.train import ControllerError, Result, UserCallback, WorkerGroupError
from ray.train.torch import TorchTrainer

from ier_ray.errors import IerRayError, StorageError, TrainingError


class EndAtOnce(UserCallback):
    """Ends a run when a worker meets an error that a restart would meet again.

    Ray would restart the workers ``scaling.max_failures`` times. What a callback raises, it does
    not retry.
    """

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:  # noqa: ARG002
        """Called by Ray with the exceptions of all workers that failed, by rank."""
        error = lasting(worker_exceptions)
        if error is not None:
            raise error


def fit(trainer: TorchTrainer) -> Result:
    """Run a trainer to its end.

    Raises:
        IerRayError: the workers' own, where it is one that a restart would meet again.
        TrainingError: when failures outlast the retries.
    """
    try:
        return trainer.fit()
    except WorkerGroupError as error:
        raise training_error(error.worker_failures) from error
    except ControllerError as error:
        met = lasting({0: error.controller_failure})
        if met is not None:
            raise met from None
        raise TrainingError(
            f"training stopped: {in_one_line(error.controller_failure)}; start it again with the "
            f"same name and settings, and it resumes from its last checkpoint"
        ) from error


def lasting(failures: dict[int, Exception]) -> IerRayError | None:
    """The first rank's error that no restart cures; storage may come back, and so may processes."""
    for _, failure in sorted(failures.items()):
        met = getattr(failure, "cause", failure)  # a Ray task's error without its traceback
        if isinstance(met, IerRayError) and not isinstance(met, StorageError):
            return met
    return None


def training_error(failures: dict[int, Exception]) -> IerRayError:
    """One error for all ranks' failures: when one rank fails, the others fail as a consequence."""
    found = lasting(failures)
    if found is not None:
        return found
    met = "; ".join(f"worker {rank}: {in_one_line(f)}" for rank, f in sorted(failures.items()))
    return TrainingError(
        f"training failed more often than scaling.max_failures allows ({met}); started again with "
        f"the same name and settings, it resumes from its last checkpoint"
    )


def in_one_line(failure: Exception) -> str:
    """An error's class and the last line of its text: Ray's error texts are pages long."""
    last = [line.strip() for line in str(failure).splitlines() if line.strip()][-1:]
    return ": ".join([type(failure).__name__, *last])
