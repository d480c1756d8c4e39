"""Ports and processes of clusters on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import psutil


def training_workers() -> list[psutil.Process]:
    """The training workers of this session's cluster."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "RayTrainWorker" in " ".join(process.info["cmdline"] or [])
        and os.getpid() in [parent.pid for parent in process.parents()]
    ]


def wait_for(condition: Callable[[], Any], *, seconds: float = 120) -> None:
    """Wait until something has come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)
