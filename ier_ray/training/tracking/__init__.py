"""Experiment tracking: TensorBoard event files, and optionally MLflow runs."""

from ier_ray.training.tracking.mlflow_runs import (
    end_run_of,
    log_epochs,
    open_run,
    require_tracking,
    tracked,
)
from ier_ray.training.tracking.tensorboard import tag, write_scalars

__all__ = [
    "end_run_of",
    "log_epochs",
    "open_run",
    "require_tracking",
    "tag",
    "tracked",
    "write_scalars",
]
