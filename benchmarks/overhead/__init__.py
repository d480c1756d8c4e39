"""The two sides of train_overhead.py, and the signals between them."""

from dataclasses import dataclass

WORKERS = 2
EPOCHS = 2
PREPARED, READY, GO = "prepared", tuple(f"ready-{rank}" for rank in range(WORKERS)), "go"
"""Files that are signals: the batches are written; each of torchrun's ranks has built its network;
the ranks may start training."""


@dataclass(frozen=True)
class Lap:
    """One run of one side."""

    images_per_s: float
    loss: float
    """Mean training loss of the measured epoch."""
    startup_s: float
    """Seconds of the run outside its epochs: starting processes, building the model, shutdown."""
