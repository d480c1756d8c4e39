"""The explanations of one process: a decoder, the networks, and an engine; free of Ray."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ier_ray.data.images import Pixels
from ier_ray.data.schema import Domain
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.engine import (
    SILENT,
    Done,
    Engine,
    Failed,
    Job,
    Lend,
    Level,
    Observer,
    Update,
)
from ier_ray.explain.masking import MaskedImages
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.serve.answers import (
    Accepted,
    Admitted,
    Answer,
    ExplainRequest,
    Predicted,
    class_index,
    failure,
    merged,
)
from ier_ray.serve.decoding import Decoder
from ier_ray.serve.engine_jobs import EngineJobs
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.schemas import AppArgs

Lenders = Callable[[Pixels, ExplainerSettings, Domain], Lend]
"""Makes what asks other processes to score masked images of an image."""


@dataclass(frozen=True)
class Prepared:
    """A request whose image and parameters can be used."""

    request: ExplainRequest
    pixels: Pixels
    settings: ExplainerSettings
    job: Job
    evaluations: int


class Explanations:
    """Explains images; explanations that run at the same time share batches.

    Args:
        lenders: how to ask others for help; by default nobody is asked.
        observer: is told of the engine's work.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        args: AppArgs,
        *,
        lenders: Lenders | None = None,
        observer: Observer = SILENT,
    ) -> None:
        self._recognizer, self._args, self._lenders = recognizer, args, lenders
        self._manifest = recognizer.manifest
        self._jobs = EngineJobs(recognizer)
        self._decoder = Decoder(
            self._manifest.preprocessing,
            max_pixels=args.max_upload_pixels,
            pixels_at_once=args.max_decoding_pixels,
        )
        self._engine = Engine(lend_s=args.spread_s, observer=observer)
        self._sample = np.zeros((self._manifest.model.image_size,) * 2 + (3,), np.uint8)
        self._score_sample()

    async def check(self) -> None:
        """Score an image with every network.

        Raises:
            RuntimeError: when a device fails, or the engine's thread has ended.
        """
        await asyncio.to_thread(self._score_sample)
        self._engine.check()

    def stop(self) -> None:
        """End the engine's threads."""
        self._engine.stop()

    async def explain(
        self, request: ExplainRequest
    ) -> AsyncGenerator[Accepted | Admitted | Answer | Predicted | RefusedError, None]:
        """That the request is here, what it costs, the finished levels if wanted, and the whole.

        Of a request for the cost, that is the whole. A refusal may come at any time. When the
        caller stops listening, nothing more is computed for it.
        """
        yield Accepted()
        try:
            prepared = await self._prepared(request)
            predicted = self._predicted(prepared)
        except RefusedError as refused:
            yield refused
            return
        if request.dry_run:
            yield predicted
        elif predicted.refusal is not None:
            yield predicted.refusal
        else:
            yield Admitted(predicted.seconds)
            async with contextlib.aclosing(self._computed(prepared)) as answers:
                async for answer in answers:
                    yield answer

    async def scores(
        self,
        pixels: Pixels,
        settings: ExplainerSettings,
        domain: Domain,
        masking: MaskedImages,
    ) -> NDArray[np.float64] | None:
        """Logits of masked versions of an image, for another process; None if not idle."""
        if not self._engine.is_idle():
            return None
        job = await asyncio.to_thread(self._jobs.scores, pixels, settings, masking, domain=domain)
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

    def _score_sample(self) -> None:
        for domain in self._manifest.networks:
            self._recognizer.probabilities(self._sample[None], domain=domain)

    async def _prepared(self, request: ExplainRequest) -> Prepared:
        """The job of a request.

        Raises:
            RefusedError: when the image or a parameter cannot be used, or another explainer is
                wanted.
        """
        weights, adjust_prior = self._manifest.weights_sha256, self._args.adjust_prior
        if request.weights_sha256 not in (None, weights):
            raise RefusedError.busy(f"this explainer has the weights {weights[:12]}…")
        if request.adjust_prior not in (None, adjust_prior):
            raise RefusedError.busy(f"this explainer has adjust_prior {adjust_prior}")
        settings = merged(request.parameters, self._args)
        target = class_index(request.parameters.target, self._manifest.label_scheme)
        pixels = self._sample
        if request.encoded is not None:
            pixels = await self._decoder.decode(request.encoded)
        lend = self._lenders and self._lenders(pixels, settings, request.network)

        def prepare() -> Prepared:
            job = self._jobs.explanation(
                pixels, settings, domain=request.network, target=target, lend=lend
            )
            evaluations = settings.explainer(target).most_evaluations(job.network.shape)
            for scored in request.known:
                self._engine.know(job.image_key, scored)
            return Prepared(request, pixels, settings, job, evaluations)

        return await asyncio.to_thread(prepare)

    def _predicted(self, prepared: Prepared) -> Predicted:
        """The cost of a request, and whether it costs or would wait too long."""
        job, refusal = prepared.job, None
        seconds = self._engine.seconds(job.network, job.macs)
        backlog = self._engine.backlog_s()
        jobs = self._args.jobs if prepared.request.for_job else None
        allowed_s = self._args.max_explanation_s if jobs is None else jobs.max_explanation_s
        if seconds > allowed_s:
            refusal = RefusedError.parameter(
                f"the explanation would take about {seconds:.0f} s, "
                f"{allowed_s:g} s are allowed: lower depth, or give a budget"
            )
        elif backlog > self._args.max_backlog_s:
            refusal = RefusedError.busy(f"about {backlog:.0f} s of work wait", backlog)
        return Predicted(
            network=prepared.request.network,
            settings=prepared.settings,
            evaluations=prepared.evaluations,
            macs=job.macs,
            seconds=seconds,
            wait_s=backlog,
            refusal=refusal,
            weights_sha256=self._manifest.weights_sha256,
        )

    async def _computed(self, prepared: Prepared) -> AsyncGenerator[Answer | RefusedError, None]:
        """The answers to a request that is admitted."""
        request, began = prepared.request, time.monotonic()
        updates: asyncio.Queue[Update] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def notify(update: Update) -> None:
            loop.call_soon_threadsafe(updates.put_nowait, update)

        most_s = float("inf") if request.for_job else self._args.deadline_s
        deadline = began + min(most_s, request.within_s)
        told = 0
        ticket = self._engine.submit(
            prepared.job, notify, deadline=deadline, is_patient=request.for_job
        )
        try:
            while True:
                update = await updates.get()
                if isinstance(update, Failed):
                    yield failure(update.error)
                    return
                if isinstance(update, Done) or request.levels:
                    answer = self._answer(prepared, update, time.monotonic() - began)
                    if request.for_job:
                        answer = replace(answer, scored=update.scored[told:])
                        told = len(update.scored)
                    yield answer
                if isinstance(update, Done):
                    return
        finally:
            ticket.cancel()

    def _answer(self, prepared: Prepared, update: Level | Done, seconds: float) -> Answer:
        final = isinstance(update, Done)
        return Answer(
            explanation=explanation_of(update),
            pixels=prepared.pixels,
            network=prepared.request.network,
            settings=prepared.settings,
            target=prepared.request.parameters.target,
            scheme=self._manifest.label_scheme,
            weights_sha256=self._manifest.weights_sha256,
            spent=update.spent,
            seconds=seconds,
            complete=isinstance(update, Done) and update.complete,
            final=final,
        )


def finish(future: asyncio.Future[Update], update: Update) -> None:
    """Set a result that may be wanted no longer."""
    if not future.done():
        future.set_result(update)


def explanation_of(update: Level | Done) -> Explanation:
    """The explanation of an update of an explanation's job."""
    found = update.explanation if isinstance(update, Level) else update.result
    if not isinstance(found, Explanation):
        raise TypeError(f"the job of an explanation gave {type(found).__name__}")
    return found
