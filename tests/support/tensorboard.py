"""What TensorBoard reads of a run."""

from __future__ import annotations

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read_scalars(directory: str) -> dict[str, list[tuple[int, float]]]:
    """(epoch, value) of every scalar, by its tag."""
    events = EventAccumulator(directory)
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
