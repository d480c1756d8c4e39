"""The deployment that explains: each replica owns the networks and an engine."""

import os
import uuid
from collections.abc import AsyncGenerator

import numpy as np
from numpy.typing import NDArray
from ray import serve
from ray.serve.config import RequestRouterConfig

from ier_ray.data.images import Pixels
from ier_ray.data.schema import Domain
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.serve.answers import Accepted, Admitted, Answer, ExplainRequest, Predicted
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.explanations import Explanations
from ier_ray.serve.lending import Lender, ScoreRequest
from ier_ray.serve.metrics import EngineMetrics
from ier_ray.serve.request_logs import log_to_serve
from ier_ray.serve.schemas import AppArgs

NICENESS = 10
"""Explanations leave the processor to predictions where both share it."""


@serve.deployment(
    ray_actor_options={"num_cpus": 0.5},
    max_ongoing_requests=8,
    max_queued_requests=64,
    request_router_config=RequestRouterConfig(  # one replica for one image, another when it is full
        request_router_class="ray.serve.experimental.consistent_hash_router.ConsistentHashRouter",
        request_router_kwargs={"num_fallback_replicas": 1000},
        max_backoff_s=0.05,
    ),
    max_surge_percent=100,
    graceful_shutdown_wait_loop_s=0.5,
    graceful_shutdown_timeout_s=120,  # longer than an explanation may take
    health_check_period_s=5,
    health_check_timeout_s=30,
)
class Explainer:
    """Explains images, and scores masked images for other replicas when it is idle."""

    def __init__(self, args: AppArgs) -> None:
        os.nice(NICENESS)
        log_to_serve()
        recognizer = Recognizer.load(
            args.checkpoint, adjust_prior=args.adjust_prior, weights_sha256=args.weights_sha256
        )
        self._weights_sha256 = recognizer.manifest.weights_sha256
        self._adjust_prior = args.adjust_prior
        self._id = uuid.uuid4().hex
        self._explanations = Explanations(
            recognizer, args, lenders=self._lender, observer=EngineMetrics()
        )

    async def check_health(self) -> None:
        """Score an image: a replica whose device or engine fails is replaced.

        Raises:
            RuntimeError: when the engine's thread has ended.
        """
        await self._explanations.check()

    async def explain(
        self, request: ExplainRequest
    ) -> AsyncGenerator[Accepted | Admitted | Answer | Predicted | RefusedError, None]:
        """As :meth:`Explanations.explain`."""
        answers = self._explanations.explain(request)
        try:
            async for answer in answers:
                yield answer
        finally:
            await answers.aclose()

    async def score(self, request: ScoreRequest) -> NDArray[np.float64] | None:
        """Logits of masked images for another replica; None if this one is not idle, or that one.

        A replica with other weights does not help either.
        """
        asked = (request.weights_sha256, request.adjust_prior)
        if asked != (self._weights_sha256, self._adjust_prior) or request.asked_by == self._id:
            return None
        return await self._explanations.scores(
            request.pixels, request.settings, request.domain, request.masking
        )

    def _lender(self, pixels: Pixels, settings: ExplainerSettings, domain: Domain) -> Lender:
        return Lender(
            pixels,
            settings,
            domain,
            weights_sha256=self._weights_sha256,
            adjust_prior=self._adjust_prior,
            asked_by=self._id,
        )
