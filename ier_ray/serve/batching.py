"""Predictions in batches of what waits anyway."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ier_ray.data.images import Pixels
from ier_ray.serve.errors import RefusedError

WEIGHT_OF_NEW = 0.1
"""Weight of the latest batch in the average duration."""


class Batcher:
    """Runs one forward pass after another, each with all that waits, up to a batch's size.

    A request alone is computed at once: nothing waits for company.

    Args:
        compute: probabilities ``(N, K)`` of images ``(N, S, S, 3)``; called in a thread.
        max_size: most images in one batch.
        max_wait_s: longest predicted wait.
    """

    def __init__(
        self,
        compute: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
        *,
        max_size: int,
        max_wait_s: float,
    ) -> None:
        self._compute, self._max_size, self._max_wait_s = compute, max_size, max_wait_s
        self._waiting: deque[tuple[Pixels, asyncio.Future[NDArray[np.float64]]]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predictions")
        self._seconds_each = 0.0

    def admit(self) -> None:
        """Refuse a request that would wait too long.

        Raises:
            RefusedError: with the predicted wait.
        """
        wait_s = len(self._waiting) * self._seconds_each
        if wait_s > self._max_wait_s:
            raise RefusedError.busy(f"{len(self._waiting)} predictions wait", wait_s)

    async def predict(self, pixels: Pixels) -> NDArray[np.float64]:
        """Probabilities ``(K,)`` of one image ``(S, S, 3)``."""
        future: asyncio.Future[NDArray[np.float64]] = asyncio.get_running_loop().create_future()
        self._waiting.append((pixels, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._run_batch()
        finally:
            self._running = None

    async def _run_batch(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(self._max_size, len(self._waiting)))]
        wanted = [(pixels, future) for pixels, future in taken if not future.done()]
        if not wanted:  # all have disconnected
            return
        started = time.perf_counter()
        try:
            images = np.stack([each for each, _ in wanted])
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._thread, self._compute, images)
        except Exception as error:  # noqa: BLE001 (goes to those who asked)
            for _, future in wanted:
                if not future.done():
                    future.set_exception(error)
            return
        seconds = (time.perf_counter() - started) / len(wanted)
        self._seconds_each += WEIGHT_OF_NEW * (seconds - self._seconds_each)
        for (_, future), probabilities in zip(wanted, found, strict=True):
            if not future.done():
                future.set_result(probabilities)
