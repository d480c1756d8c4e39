"""Ports and processes of clusters on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil


def descendants(*titles: str, of: int | None = None) -> list[psutil.Process]:
    """Processes that a process (by default this one) has started, by it or by others of them.

    Args:
        titles: their command lines contain one of these.
    """
    found = []
    for process in psutil.Process(of).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if any(title in " ".join(process.cmdline()) for title in titles):
                found.append(process)
    return found


def training_workers() -> list[psutil.Process]:
    """The training workers of this session's cluster."""
    return descendants("RayTrainWorker")


def cpu_s(process: psutil.Process, *, during: float) -> float:
    """CPU seconds that a process takes in so many seconds from now."""
    before = sum(process.cpu_times()[:2])
    time.sleep(during)
    return float(sum(process.cpu_times()[:2]) - before)


def wait_for(condition: Callable[[], Any], *, seconds: float = 120) -> None:
    """Wait until something has come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)
