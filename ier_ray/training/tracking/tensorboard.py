"""Epochs as TensorBoard reads them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from ier_ray import storage

UNDER_VALIDATION = ("val_loss", "accuracy")


def write_scalars(location: str, record: Mapping[str, float]) -> None:
    """Write an epoch's record as an event file of its own below ``location``, local or on S3.

    One file an epoch, whole or not at all: an epoch that is trained again after a fault replaces
    its figures, and S3, where nothing can be appended, needs no other way. TensorBoard reads the
    files of a directory in the order of their names.
    """
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (slow, for one rank only)

    with tempfile.TemporaryDirectory(prefix="ier_ray-scalars-") as directory:
        with SummaryWriter(directory) as writer:
            for name, value in record.items():
                if name != "epoch":
                    writer.add_scalar(tag(name), value, record["epoch"])
        (events,) = Path(directory).iterdir()
        target = storage.join(location, f"events.out.tfevents.{int(record['epoch']):06d}")
        storage.write_bytes(target, events.read_bytes())


def tag(name: str) -> str:
    """The name of a figure in TensorBoard, by section."""
    return f"{'validation' if name.endswith(UNDER_VALIDATION) else 'training'}/{name}"
