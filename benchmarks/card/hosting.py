"""How much of an explanation's time the host needs before the device can work."""

from __future__ import annotations

import cProfile
import pstats
from dataclasses import asdict, dataclass
from typing import Any

from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from card.figures import explain_once
from card.subject import Precision, Subject, float32_as

POSITIONS = {"positions", "_within", "covers", "group_by_size", "common", "reach"}
"""Functions of incremental inference that compute windows' positions and groups with numpy."""


@dataclass(frozen=True)
class HostTime:
    """One explanation's time.

    Attributes:
        seconds: whole.
        kernels: share in which the device computes; None where the profiler sees no kernels, as on
            the CPU.
        copies: share in which the device copies, to and from the host and within itself.
        idle: share in which the device waits for the host.
        launches: kernels.
        positions: share that the host spends on the positions of windows, in its own code alone.
    """

    precision: Precision
    seconds: float
    kernels: float | None
    copies: float | None
    idle: float | None
    launches: int | None
    positions: float

    def record(self) -> dict[str, Any]:
        return asdict(self)


def host_time(subject: Subject, precision: Precision) -> HostTime:
    """Of an explanation with both contexts, beside a run that nothing observes."""
    with float32_as(precision):
        seconds = subject.seconds(lambda: explain_once(subject, precision))
        positions = positions_s(subject, precision) / seconds
        kernels, copies, launches = device_s(subject, precision)
    if not launches:
        return HostTime(precision, seconds, None, None, None, None, positions)
    kernels, copies = kernels / seconds, copies / seconds
    idle = max(0.0, 1 - kernels - copies)
    return HostTime(precision, seconds, kernels, copies, idle, launches, positions)


def positions_s(subject: Subject, precision: Precision) -> float:
    """Seconds in the functions of ``POSITIONS``, without the functions that these call."""
    profiler = cProfile.Profile()
    profiler.runcall(lambda: explain_once(subject, precision))
    stats: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    own = {place: entry[2] for place, entry in stats.items()}
    return sum(s for (file, _, name), s in own.items() if name in POSITIONS and "ier_ray" in file)


def device_s(subject: Subject, precision: Precision) -> tuple[float, float, int]:
    """Seconds of kernels and of copies on the device, and the number of kernels."""
    if subject.device.type != "cuda":
        return 0.0, 0.0, 0
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        explain_once(subject, precision)
        subject.wait()
    ran = [event for event in profiler.events() if event.device_type == DeviceType.CUDA]
    ran = [event for event in ran if not event.is_user_annotation]
    moves = [event for event in ran if event.name.startswith(("Memcpy", "Memset"))]
    whole, moved = (sum(e.time_range.elapsed_us() for e in events) / 1e6 for events in (ran, moves))
    return whole - moved, moved, len(ran) - len(moves)
