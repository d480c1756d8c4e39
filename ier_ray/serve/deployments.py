"""The deployment that explains: each replica owns the network and an engine."""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from ray import serve
from ray.serve.config import RequestRouterConfig

from ier_ray.data.images import Pixels
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DeadlineError, IerRayError
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.engine import Done, Engine, Failed, Job, Update
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.serve.decoding import Decoder
from ier_ray.serve.engine_jobs import EngineJobs
from ier_ray.serve.errors import RefusedError, complaint
from ier_ray.serve.lending import Lender, ScoreRequest
from ier_ray.serve.schemas import AppArgs, ExplainQuery

logger = logging.getLogger(__name__)

NICENESS = 10
"""Explanations leave the processor to predictions where both share it."""


@dataclass(frozen=True)
class ExplainRequest:
    """What a client asks for."""

    encoded: bytes
    """The uploaded image."""
    query: ExplainQuery
    levels: bool
    """Whether every level is wanted when it is finished."""


@dataclass(frozen=True)
class Accepted:
    """An explainer has the request."""


@dataclass(frozen=True)
class Answer:
    """An explanation, as far as it is finished, and who computed it."""

    explanation: Explanation
    pixels: Pixels
    """The network's input, ``(S, S, 3)``."""
    settings: ExplainerSettings
    scheme: EmotionScheme
    weights_sha256: str
    complete: bool
    final: bool
    """Whether this is the last answer to the request."""


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
    """Explains images; explanations that run at the same time share batches."""

    def __init__(self, args: AppArgs) -> None:
        os.nice(NICENESS)
        self._args = args
        self._recognizer = Recognizer.load(
            args.checkpoint, adjust_prior=args.adjust_prior, weights_sha256=args.weights_sha256
        )
        self._manifest = self._recognizer.manifest
        self._jobs = EngineJobs(self._recognizer)
        self._decoder = Decoder(
            self._manifest.preprocessing,
            max_pixels=args.max_upload_pixels,
            pixels_at_once=args.max_decoding_pixels,
        )
        self._engine = Engine(lend_s=args.spread_s)
        self._id = uuid.uuid4().hex
        self._sample = np.zeros((self._manifest.model.image_size,) * 2 + (3,), np.uint8)
        self._recognizer.probabilities(self._sample[None])

    async def check_health(self) -> None:
        """Score an image: a replica whose device or engine fails is replaced.

        Raises:
            RuntimeError: when the engine's thread has ended.
        """
        await asyncio.to_thread(self._recognizer.probabilities, self._sample[None])
        self._engine.check()

    async def explain(
        self, request: ExplainRequest
    ) -> AsyncGenerator[Accepted | Answer | RefusedError, None]:
        """That the request is here, the finished levels if wanted, and the whole or a refusal.

        When the caller stops listening, nothing more is computed for it.
        """
        yield Accepted()
        try:
            job, answer = await self._prepared(request)
            self._admit(job)
        except RefusedError as refused:
            yield refused
            return
        updates: asyncio.Queue[Update] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def notify(update: Update) -> None:
            loop.call_soon_threadsafe(updates.put_nowait, update)

        deadline = time.monotonic() + self._args.deadline_s
        ticket = self._engine.submit(job, notify, deadline=deadline)
        try:
            while True:
                update = await updates.get()
                if isinstance(update, Failed):
                    yield failure(update.error)
                    return
                if isinstance(update, Done):
                    yield answer(explanation_of(update), update.complete, True)
                    return
                if request.levels:
                    yield answer(update.explanation, False, False)
        finally:
            ticket.cancel()

    async def score(self, request: ScoreRequest) -> NDArray[np.float64] | None:
        """Logits of masked images for another replica; None if this one is not idle, or that one.

        A replica with other weights does not help either.
        """
        others = request.weights_sha256 != self._manifest.weights_sha256
        if others or request.asked_by == self._id or not self._engine.is_idle():
            return None
        job = await asyncio.to_thread(
            self._jobs.scores, request.pixels, request.settings, request.masking
        )
        loop = asyncio.get_running_loop()
        scored: asyncio.Future[Update] = loop.create_future()

        def notify(update: Update) -> None:
            loop.call_soon_threadsafe(finish, scored, update)

        ticket = self._engine.submit(job, notify)
        try:
            update = await scored
        finally:
            ticket.cancel()
        found = update.result if isinstance(update, Done) else None
        return found if isinstance(found, np.ndarray) else None

    async def _prepared(
        self, request: ExplainRequest
    ) -> tuple[Job, Callable[[Explanation, bool, bool], Answer]]:
        """The job of a request, and what makes an answer of an explanation.

        Raises:
            RefusedError: when the image or a parameter cannot be used.
        """
        scheme = self._manifest.label_scheme
        settings = merged(request.query, self._args.explainer)
        if settings.depth > self._args.max_depth:
            raise RefusedError.parameter(
                f"depth: must be <= {self._args.max_depth}, got {settings.depth}"
            )
        target = class_index(request.query.target, scheme)
        pixels = await self._decoder.decode(request.encoded)
        lend = Lender(pixels, settings, self._manifest.weights_sha256, self._id)
        job = await asyncio.to_thread(
            self._jobs.explanation, pixels, settings, target=target, lend=lend
        )

        def answer(explanation: Explanation, complete: bool, final: bool) -> Answer:
            weights = self._manifest.weights_sha256
            return Answer(explanation, pixels, settings, scheme, weights, complete, final)

        return job, answer

    def _admit(self, job: Job) -> None:
        """Refuse what costs too much, and what would wait too long.

        Raises:
            RefusedError: with the predicted seconds.
        """
        seconds = self._engine.seconds(job.network, job.macs)
        if seconds > self._args.max_explanation_s:
            raise RefusedError.parameter(
                f"the explanation would take about {seconds:.0f} s, "
                f"{self._args.max_explanation_s:g} s are allowed: lower depth, or give a budget"
            )
        backlog = self._engine.backlog_s()
        if backlog > self._args.max_backlog_s:
            raise RefusedError.busy(f"about {backlog:.0f} s of work wait", backlog)


def finish(future: asyncio.Future[Update], update: Update) -> None:
    """Set a result that may be wanted no longer."""
    if not future.done():
        future.set_result(update)


def explanation_of(done: Done) -> Explanation:
    """The result of an explanation's job."""
    if not isinstance(done.result, Explanation):
        raise TypeError(f"the job of an explanation gave {type(done.result).__name__}")
    return done.result


def failure(error: Exception) -> RefusedError:
    """What to reply when an explanation failed."""
    if isinstance(error, DeadlineError):
        return RefusedError(504, "deadline", str(error), retry_after_s=1.0)
    if isinstance(error, IerRayError):
        return RefusedError(503, "failed", str(error), retry_after_s=1.0)
    return RefusedError(500, "internal", "the explanation failed; the service's log says why")


def merged(query: ExplainQuery, configured: ExplainerSettings) -> ExplainerSettings:
    """The service's explainer settings, overridden by a request's.

    Raises:
        RefusedError: when the combined settings are invalid.
    """
    try:
        return query.over(configured)
    except ValidationError as error:
        lines = "; ".join(complaint(dict(problem)) for problem in error.errors())
        raise RefusedError.parameter(lines) from error


def class_index(name: str | None, scheme: EmotionScheme) -> int | None:
    """The index of a class; None for None.

    Raises:
        RefusedError: when there is no class of that name.
    """
    if name is not None and name not in scheme.classes:
        known = ", ".join(scheme.classes)
        raise RefusedError.parameter(f"target: must be one of {known}, got {name!r}")
    return None if name is None else scheme.index(name)
