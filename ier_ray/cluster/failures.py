"""Running a trainer, and turning Ray's failures into errors for the user."""

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
        raise training_error(error.worker_failures) from error
    except ControllerError as error:
        raise TrainingError(
            f"training stopped: {in_one_line(error.controller_failure)}; start it again with the "
            f"same name and settings, and it resumes from its last checkpoint"
        ) from error


def training_error(failures: dict[int, Exception]) -> TrainingError:
    """One error for all ranks' failures: when one rank fails, the others fail as a consequence."""
    for _, failure in sorted(failures.items()):
        if isinstance(failure, DeviceMemoryError):
            return failure
    met = "; ".join(f"worker {rank}: {in_one_line(f)}" for rank, f in sorted(failures.items()))
    return TrainingError(
        f"training failed more often than scaling.max_failures allows ({met}); started again with "
        f"the same name and settings, it resumes from its last checkpoint"
    )


def in_one_line(failure: Exception) -> str:
    """An error's class and the last line of its text: Ray's error texts are pages long."""
    last = [line.strip() for line in str(failure).splitlines() if line.strip()][-1:]
    return ": ".join([type(failure).__name__, *last])
