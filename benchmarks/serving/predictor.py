"""What the one-hop application and the bare server have in common: decoding, batches, replies."""

from __future__ import annotations

import asyncio

import numpy as np
import torch
from numpy.typing import NDArray

from ier_ray.data.images import Pixels
from ier_ray.inference import Recognizer
from ier_ray.records import Prediction

MAX_BATCH_SIZE = 16
MOST_PREDICTIONS = 96
"""Beyond, the gate refuses. Both as in our application by default."""


class Predictor:
    """Predicts in the process of its caller; the network runs one batch after another.

    A batch is what waits when the network becomes free: alone, an image waits for nobody.
    """

    def __init__(self, checkpoint: str, threads: int) -> None:
        torch.set_num_threads(threads)  # else one in Ray's replicas, and all elsewhere
        self._recognizer = Recognizer.load(checkpoint, device="cpu")
        self._waiting: list[tuple[Pixels, asyncio.Future[NDArray[np.float64]]]] = []
        self._running: asyncio.Task[None] | None = None

    async def predict(self, encoded: bytes) -> Prediction:
        """The prediction of an encoded image, with the same record as ours."""
        manifest = self._recognizer.manifest
        pixels = await asyncio.to_thread(manifest.preprocessing.decode, encoded)
        found: asyncio.Future[NDArray[np.float64]] = asyncio.get_running_loop().create_future()
        self._waiting.append((pixels, found))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return Prediction.of(await found, manifest.label_scheme)

    async def _run(self) -> None:
        while self._waiting:
            batch = self._waiting[:MAX_BATCH_SIZE]
            del self._waiting[:MAX_BATCH_SIZE]
            pixels = np.stack([image for image, _ in batch])
            rows = await asyncio.to_thread(self._recognizer.probabilities, pixels)
            for (_, found), row in zip(batch, rows, strict=True):
                if not found.cancelled():
                    found.set_result(row)
        self._running = None
