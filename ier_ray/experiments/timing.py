"""Seconds of functions, and how a cost grows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median

import numpy as np

FEWEST_CALLS, SLOW_S = 3, 0.5
"""Calls that are timed, and the seconds after which no further one is."""


def fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls: others were held up. Slow functions run once."""
    best, spent, calls = math.inf, 0.0, 0
    while calls == 0 or (calls < FEWEST_CALLS and spent < SLOW_S):
        started = time.perf_counter()
        run()
        last = time.perf_counter() - started
        best, spent, calls = min(best, last), spent + last, calls + 1
    return best


def exponent(regions: list[int], costs: list[float] | list[int]) -> float | None:
    """Slope of the logarithm of the cost over that of the regions; None for fewer than two."""
    if len(regions) < 2:
        return None
    return float(np.polyfit(np.log(regions), np.log(costs), 1)[0])


def seconds_of(run: Callable[[], None], rounds: int) -> float:
    """Median seconds of a function, without its first call."""
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return median(times[1:])
