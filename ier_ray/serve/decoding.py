"""Decoding of uploaded images in threads, within a bound of memory."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition

from ier_ray.data.images import Pixels, declared_pixels
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.errors import ImageError
from ier_ray.serve.errors import RefusedError

THREADS = 2


class Decoder:
    """Decodes images beside the event loop, as many at once as a number of pixels allows.

    Args:
        max_pixels: of one image.
        pixels_at_once: of all images that are decoded at the same time; a larger image is decoded
            alone.
    """

    def __init__(
        self, preprocessing: Preprocessing, *, max_pixels: int, pixels_at_once: int
    ) -> None:
        self._preprocessing, self._max_pixels = preprocessing, max_pixels
        self._at_once, self._now = pixels_at_once, 0
        self._changed = Condition()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="decoder")

    async def decode(self, encoded: bytes) -> Pixels:
        """The image, resized to the network's input, ``(S, S, 3)``.

        Raises:
            RefusedError: when it is too large or not an image.
        """
        return await asyncio.wrap_future(self.submit(encoded))

    def submit(self, encoded: bytes) -> Future[Pixels]:
        """As :meth:`decode`, for callers in any thread."""
        return self._threads.submit(self._decoded, encoded)

    def _decoded(self, encoded: bytes) -> Pixels:
        try:
            with self._room_for(min(declared_pixels(encoded), self._at_once)):
                return self._preprocessing.decode(encoded, max_pixels=self._max_pixels)
        except ImageError as error:
            raise RefusedError.image(error) from error

    @contextmanager
    def _room_for(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._now + pixels <= self._at_once)
            self._now += pixels
        try:
            yield
        finally:
            with self._changed:
                self._now -= pixels
                self._changed.notify_all()
