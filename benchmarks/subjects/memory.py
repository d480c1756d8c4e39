"""How memory is measured: the peak while a block runs, and a process for each measurement."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any


class Peak:
    """The most bytes that were held while the block ran.

    Args:
        held: the bytes that are held now.
        every: seconds between two looks.
    """

    def __init__(self, held: Callable[[], int], *, every: float) -> None:
        self._held, self._every = held, every

    def __enter__(self) -> Peak:
        self.base = self.peak = self._held()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.peak = max(self.peak, self._held())  # a short block may end before the first look
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self.peak = max(self.peak, self._held())


def in_new_process(measurement: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measurement, arguments)
