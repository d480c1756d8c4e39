"""Predictions in batches of what waits anyway."""

import asyncio
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from ier_ray.data.images import Pixels
from ier_ray.serve.decoding import Decoder
from ier_ray.serve.errors import RefusedError

WEIGHT_OF_NEW = 0.1
"""Weight of the latest batch in the average duration."""

Waiting = tuple[Pixels, asyncio.Future[NDArray[np.float64]]]
"""An image and who waits for its probabilities."""
Compute = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Probabilities ``(N, K)`` of images ``(N, S, S, 3)``."""
Computed = Callable[[int, float], None]


class Batcher:
    """Runs one forward pass after another, each with all that waits, up to a batch's size.

    A request alone is computed at once: nothing waits for company. Images go from thread to thread,
    and the next batch begins by itself: the network never waits for a busy event loop.

    Args:
        decoder: of the images.
        compute: called in that thread.
        max_size: most images in one batch.
        max_wait_s: longest predicted wait.
        computed: told, in that thread, of each batch: images, seconds.
    """

    def __init__(
        self,
        decoder: Decoder,
        compute: Compute,
        *,
        max_size: int,
        max_wait_s: float,
        computed: Computed = lambda *_: None,
    ) -> None:
        self._decoder, self._max_wait_s = decoder, max_wait_s
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._worker = Worker(self._queue, compute, max_size, computed)
        Thread(target=self._worker.run, name="predictions", daemon=True).start()
        weakref.finalize(self, self._queue.put, None)  # ends the thread

    def admit(self) -> None:
        """Refuse a request that would wait too long.

        Raises:
            RefusedError: with the predicted wait.
        """
        wait_s = self.waiting * self._worker.seconds_each
        if wait_s > self._max_wait_s:
            raise RefusedError.busy(f"{self.waiting} predictions wait", wait_s)

    @property
    def waiting(self) -> int:
        """Number of decoded images that are in no batch yet."""
        return self._queue.qsize()

    async def predict(self, encoded: bytes) -> NDArray[np.float64]:
        """Probabilities ``(K,)`` of an encoded image.

        Raises:
            RefusedError: when it is too large or not an image.
        """
        future: asyncio.Future[NDArray[np.float64]] = asyncio.get_running_loop().create_future()

        def queue(decoded: Future[Pixels]) -> None:
            error = decoded.exception()
            if error is None:
                self._queue.put((decoded.result(), future))
            else:
                future.get_loop().call_soon_threadsafe(deliver, [future], error)

        self._decoder.submit(encoded).add_done_callback(queue)
        return await future


class Worker:
    """Computes batches of what comes through a queue, until None does."""

    def __init__(
        self,
        queue: SimpleQueue[Waiting | None],
        compute: Compute,
        max_size: int,
        computed: Computed,
    ) -> None:
        self._queue, self._compute, self._max_size = queue, compute, max_size
        self._computed = computed
        self.seconds_each = 0.0
        """Average seconds per image."""

    def run(self) -> None:
        """The thread."""
        for taken in self._batches():
            wanted = [(pixels, future) for pixels, future in taken if not future.done()]
            if wanted:  # else all have disconnected
                self._compute_batch(wanted)

    def _batches(self) -> Iterator[list[Waiting]]:
        while (first := self._queue.get()) is not None:
            taken = [first]
            while len(taken) < self._max_size:
                try:
                    each = self._queue.get_nowait()
                except Empty:
                    break
                if each is None:
                    return
                taken.append(each)
            yield taken

    def _compute_batch(self, wanted: list[Waiting]) -> None:
        started = time.perf_counter()
        found: NDArray[np.float64] | BaseException
        try:
            found = self._compute(np.stack([pixels for pixels, _ in wanted]))
        except Exception as error:  # noqa: BLE001 (goes to those who asked)
            found = error
        else:
            seconds = time.perf_counter() - started
            self.seconds_each += WEIGHT_OF_NEW * (seconds / len(wanted) - self.seconds_each)
            self._computed(len(wanted), seconds)
        futures = [future for _, future in wanted]
        futures[0].get_loop().call_soon_threadsafe(deliver, futures, found)


def deliver(
    futures: list[asyncio.Future[NDArray[np.float64]]], found: NDArray[np.float64] | BaseException
) -> None:
    """Give those who still wait their probabilities, or the error."""
    for index, future in enumerate(futures):
        if future.done():
            continue
        if isinstance(found, BaseException):
            future.set_exception(found)
        else:
            future.set_result(found[index])
