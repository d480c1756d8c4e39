"""Engines in processes of their own, without Ray or HTTP: what this machine's cores allow."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from explaining.in_process import engine_s
from explaining.subject import Subject, median_ratio
from ier_ray.explain.engine import Engine

_explain: list[partial[float]] = []
"""What a process has started."""


def two_over_one(subject: Subject, directory: Path, *, count: int, rounds: int) -> float:
    """Throughput of two processes over that of one, each with one torch thread.

    Args:
        count: explanations of a measurement.
    """
    with processes(1, subject, directory) as one, processes(2, subject, directory) as two:
        return median_ratio(partial(_per_s, two, count), partial(_per_s, one, count), rounds)


@contextmanager
def processes(number: int, subject: Subject, directory: Path) -> Iterator[ProcessPoolExecutor]:
    """Processes that explain, all started and warm."""
    with ProcessPoolExecutor(
        number,
        multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(subject.name, directory),
    ) as pool:
        _per_s(pool, 4 * number)
        yield pool


def _per_s(pool: ProcessPoolExecutor, count: int) -> float:
    started = time.perf_counter()
    list(pool.map(_one, range(count)))
    return count / (time.perf_counter() - started)


def _start(name: str, directory: Path) -> None:
    torch.set_num_threads(1)
    subject = Subject.of(name, directory / str(os.getpid()))
    _explain.append(partial(engine_s, Engine(), subject))


def _one(_: int) -> float:
    return _explain[0]()
