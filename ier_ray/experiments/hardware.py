"""The machine that a measurement was made on, and its peak memory."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

RESET_PEAK = "5"
"""Written to ``clear_refs``, it makes the process's peak its present size (man 5 proc)."""


@contextmanager
def peak_memory() -> Iterator[dict[str, int]]:
    """The most bytes that were held while the block ran: of the GPU, if there is one, and resident.

    The mapping that is given out is filled when the block ends. The resident peak is known on Linux
    only.
    """
    found: dict[str, int] = {}
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    yield found
    if gpu:
        found["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    with suppress(OSError):
        status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
        found["peak_resident_bytes"] = int(status.split()[0]) * 1024


def hardware() -> dict[str, Any]:
    """What computes in this process: the GPU or the processor, and the number of threads."""
    if torch.cuda.is_available():
        return {"device": torch.cuda.get_device_name(), "threads": torch.get_num_threads()}
    return {"device": processor(), "threads": torch.get_num_threads()}


def processor() -> str:
    """The processor's name."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()
