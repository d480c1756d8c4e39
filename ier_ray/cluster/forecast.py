"""How long the rest of a sweep takes, and what of the cluster it uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ier_ray.cluster.packing import Group

HOUR = 3600.0


@dataclass(frozen=True)
class Forecast:
    """What is left, if no run is stopped early."""

    seconds: float
    cpu_hours: float
    gpu_hours: float

    @classmethod
    def of(cls, run: Group, left: Sequence[int], *, epoch_seconds: float, at_once: int) -> Forecast:
        """The forecast from the epochs that are left of each run.

        Args:
            run: what each run holds.
            left: epochs of each run that has not ended, at least one.
            epoch_seconds: seconds of an epoch.
            at_once: runs at the same time.
        """
        busy = epoch_seconds * sum(left)
        return cls(
            seconds=max(busy / min(at_once, len(left)), epoch_seconds * max(left)),
            cpu_hours=busy * (run.workers * run.cpus + run.driver_cpus) / HOUR,
            gpu_hours=busy * run.workers * run.gpus / HOUR,
        )

    def __str__(self) -> str:
        return (
            f"about {duration(self.seconds)} if none is stopped early: {self.cpu_hours:.3g} CPU "
            f"hours, {self.gpu_hours:.3g} GPU hours"
        )


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for unit, size in (("d", 24 * HOUR), ("h", HOUR), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
