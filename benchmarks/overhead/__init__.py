"""The two sides of train_overhead.py, and what passes between them."""

from dataclasses import dataclass

WORKERS = 2
EPOCHS = 2
PREPARED, READY, GO = "prepared", tuple(f"ready-{rank}" for rank in range(WORKERS)), "go"
"""Files by which torchrun's ranks hear that there are batches, say that they have built their
network, and are told to train."""


@dataclass(frozen=True)
class Lap:
    """One run of one side."""

    images_per_s: float
    loss: float
    """Mean training loss of the measured epoch."""
    startup_s: float
    """All of the run that is not within an epoch: processes, model, closing."""
