"""The two deployments behind the ingress: a batching classifier and the owner of the pool."""

import asyncio
import threading

import numpy as np
from numpy.typing import NDArray
from ray import serve

from ier_ray.cluster.explain_pool import ExplainPool, ExplainRequest
from ier_ray.data.images import Pixels
from ier_ray.explain.dncshap import Explanation
from ier_ray.inference import Recognizer
from ier_ray.serve.schemas import AppArgs


@serve.deployment(ray_actor_options={"num_cpus": 0.5})
class Classifier:
    """Computes class probabilities; requests that arrive together share a forward pass."""

    def __init__(self, args: AppArgs) -> None:
        self._recognizer = Recognizer.load(args.checkpoint, adjust_prior=args.adjust_prior)
        self._predict.set_max_batch_size(args.max_batch_size)
        self._predict.set_batch_wait_timeout_s(args.batch_wait_s)

    async def ready(self) -> bool:
        """Returns once the network is loaded."""
        return True

    async def predict(self, pixels: Pixels) -> NDArray[np.float64]:
        """Probabilities ``(K,)`` of one image ``(S, S, 3)``."""
        probabilities: NDArray[np.float64] = await self._predict(pixels)
        return probabilities

    @serve.batch
    async def _predict(self, images: list[Pixels]) -> list[NDArray[np.float64]]:
        return list(await asyncio.to_thread(self._recognizer.probabilities, np.stack(images)))


@serve.deployment(ray_actor_options={"num_cpus": 0.1}, max_ongoing_requests=4)
class Explainer:
    """Owns a pool of plain actors and divides each explanation's work among them."""

    def __init__(self, args: AppArgs) -> None:
        self._pool = ExplainPool.start(
            args.checkpoint,
            size=args.explain_workers,
            num_cpus=args.explain_worker_cpus,
            num_gpus=args.explain_worker_gpus,
            adjust_prior=args.adjust_prior,
        )

    async def explain(self, request: ExplainRequest) -> Explanation:
        """Credits of every region of one image; disconnecting cancels the computation."""
        closed = threading.Event()
        try:
            return await asyncio.to_thread(self._pool.explain, request, cancelled=closed.is_set)
        except asyncio.CancelledError:
            closed.set()
            raise
