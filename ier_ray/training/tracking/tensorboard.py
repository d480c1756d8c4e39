"""TensorBoard event files, one per epoch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from ier_ray import storage
from ier_ray.training.selection import LABEL_FREE

UNDER_VALIDATION = ("val_loss", "accuracy", *LABEL_FREE)
"""Endings of the names of validation metrics."""


def write_scalars(location: str, record: Mapping[str, float]) -> None:
    """Write an epoch's record as its own event file below ``location``, local or on S3.

    Each file is written completely or not at all. An epoch that is trained again after a failure
    replaces its file, and S3, which cannot append, needs no special case. TensorBoard reads the
    files of a directory in the order of their names.
    """
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (slow; rank 0 only)

    with tempfile.TemporaryDirectory(prefix="ier_ray-scalars-") as directory:
        with SummaryWriter(directory) as writer:
            for name, value in record.items():
                if name != "epoch":
                    writer.add_scalar(tag(name), value, record["epoch"])
        (events,) = Path(directory).iterdir()
        target = storage.join(location, f"events.out.tfevents.{int(record['epoch']):06d}")
        storage.write_bytes(target, events.read_bytes())


def tag(name: str) -> str:
    """The TensorBoard tag of a metric: its section and its name."""
    return f"{'validation' if name.endswith(UNDER_VALIDATION) else 'training'}/{name}"
