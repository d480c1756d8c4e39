"""What a failed run tells its user."""

from __future__ import annotations

from ray.train import ControllerError, Result, WorkerGroupError
from ray.train.torch import TorchTrainer

from ier_ray.errors import DeviceMemoryError, TrainingError


def fit(trainer: TorchTrainer) -> Result:
    """Run a trainer to its end.

    Raises:
        TrainingError: when its failures outlast the retries.
    """
    try:
        return trainer.fit()
    except WorkerGroupError as error:
        raise explained(error.worker_failures) from error
    except ControllerError as error:
        raise TrainingError(
            f"training stopped: {in_one_line(error.controller_failure)}; start it again with the "
            f"same name and settings, and it goes on from its last checkpoint"
        ) from error


def explained(failures: dict[int, Exception]) -> TrainingError:
    """One error for what the ranks met: when one breaks off, the others fail for want of it."""
    for _, failure in sorted(failures.items()):
        if isinstance(failure, DeviceMemoryError):
            return failure
    met = "; ".join(f"worker {rank}: {in_one_line(f)}" for rank, f in sorted(failures.items()))
    return TrainingError(
        f"training failed more often than scaling.max_failures allows ({met}); started again with "
        f"the same name and settings, it goes on from its last checkpoint"
    )


def in_one_line(failure: Exception) -> str:
    """The kind and the end of an error's text: Ray's own texts are pages long."""
    last = [line.strip() for line in str(failure).splitlines() if line.strip()][-1:]
    return ": ".join([type(failure).__name__, *last])
