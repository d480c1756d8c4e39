"""The HTTP interface: predictions by its own network, explanations by the explainers."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.config import BackpressureConfig, RequestRouterConfig
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from ier_ray import __version__
from ier_ray.inference import Recognizer
from ier_ray.records import Prediction
from ier_ray.serve.batching import Batcher
from ier_ray.serve.decoding import Decoder
from ier_ray.serve.deployments import Answer, Explainer, ExplainRequest
from ier_ray.serve.disconnection import unless_disconnected
from ier_ray.serve.errors import ErrorReply, RefusedError, handle_errors
from ier_ray.serve.front import Gate
from ier_ray.serve.graph import predictor
from ier_ray.serve.negotiation import preferred
from ier_ray.serve.replies import EVENTS, JSON, PNG, events, heat_map, reply_of
from ier_ray.serve.schemas import (
    AppArgs,
    ExplainQuery,
    ExplanationReply,
    Health,
    ModelInfo,
    PredictionReply,
)
from ier_ray.serve.uploads import FORM_FIELD, read_upload
from ier_ray.serve.web_page import serve_page
from ier_ray.training.checkpoint import read_checkpoint_manifest, require_images, require_network

MODEL = "/v1/models/ier"
ACCEPTED_WITHIN_S = 10.0
"""Seconds within which an explainer must take a request; without one the call would wait on."""
MOST_OVERDUE_S = 10.0
"""Seconds after the deadline within which an explainer that works has answered."""
BATCHES = 6
"""Full batches of predictions that may be under way: one runs, others are read and decoded."""
BINARY = {"schema": {"type": "string", "format": "binary"}}
UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": BINARY,
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {FORM_FIELD: BINARY["schema"]}}
            },
        },
    }
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply} for status in (400, 413, 415, 422, 500, 503)
}
NOT_EXPLAINED: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply} for status in (406, 504)
}

api = FastAPI(title="ier_ray", version=__version__)
handle_errors(api)
serve_page(api)


@serve.deployment(
    ray_actor_options={"num_cpus": 0.5},
    max_ongoing_requests=128,
    max_queued_requests=64,
    # Without HAProxy, Serve's proxy would look for a free replica twice a second only.
    request_router_config=RequestRouterConfig(initial_backoff_s=0.005, max_backoff_s=0.05),
    backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1),
    max_surge_percent=100,
    graceful_shutdown_wait_loop_s=0.5,
    graceful_shutdown_timeout_s=120,  # longer than an explanation may take
)
@serve.ingress(api)
class Ingress:
    """Validates requests, predicts, and delegates explanations by handle."""

    def __init__(self, args: AppArgs, explainer: DeploymentHandle) -> None:
        self._args = args
        recognizer = Recognizer.load(
            args.checkpoint, adjust_prior=args.adjust_prior, weights_sha256=args.weights_sha256
        )
        manifest = self._manifest = recognizer.manifest
        self._scheme = manifest.label_scheme
        self._explainer = explainer.options(stream=True)
        self._explanations = 0
        Gate.most_predictions = BATCHES * args.max_batch_size
        self._batcher = Batcher(
            Decoder(
                manifest.preprocessing,
                max_pixels=args.max_upload_pixels,
                pixels_at_once=args.max_decoding_pixels,
            ),
            predictor(recognizer),
            max_size=args.max_batch_size,
            max_wait_s=args.max_queue_s,
        )

    @api.get("/healthz")
    @api.head("/healthz", include_in_schema=False)
    async def healthz(self) -> Health:
        """Whether the service runs: its network is loaded."""
        return Health(status="ok")

    @api.get(MODEL)
    @api.head(MODEL, include_in_schema=False)
    async def info(self) -> ModelInfo:
        """The served model."""
        manifest = self._manifest
        return ModelInfo(
            name="ier",
            architecture=manifest.model.architecture,
            image_size=manifest.model.image_size,
            normalization=manifest.normalization,
            scheme=manifest.scheme,
            classes=manifest.classes,
            epoch=manifest.epoch,
            metrics=manifest.metrics,
            weights_sha256=manifest.weights_sha256,
        )

    @api.post(
        f"{MODEL}:predict", openapi_extra=UPLOAD, responses=ERRORS, response_model=PredictionReply
    )
    async def predict(self, request: Request) -> Response:
        """The predicted emotion of an image."""
        self._batcher.admit()
        encoded = await read_upload(request, max_bytes=self._args.max_upload_bytes)
        prediction = Prediction.of(await self._batcher.predict(encoded), self._scheme)
        weights = self._manifest.weights_sha256
        return JSONResponse({**prediction.model_dump(), "weights_sha256": weights})

    @api.post(
        f"{MODEL}:explain",
        openapi_extra=UPLOAD,
        response_model=ExplanationReply,
        responses={
            **ERRORS,
            **NOT_EXPLAINED,
            200: {"content": {PNG: BINARY, EVENTS: {"schema": {"type": "string"}}}},
        },
    )
    async def explain(self, request: Request, query: Annotated[ExplainQuery, Query()]) -> Response:
        """DnCShap credits of an image's regions.

        With ``Accept: image/png`` the heat map. With ``Accept: text/event-stream`` an event
        ``level`` for each level when it is finished, and an event ``explanation`` at the end, each
        with the same JSON.
        """
        media_type = preferred(request.headers.get("accept", ""), (JSON, PNG, EVENTS))
        encoded = await read_upload(request, max_bytes=self._args.max_upload_bytes)
        asked = ExplainRequest(encoded, query, levels=media_type == EVENTS)
        answers = self._answers(asked)
        # Before the reply begins: a refusal is a status then, not a broken stream.
        first = await unless_disconnected(request, self._in_time(anext(answers)))
        if media_type == EVENTS:
            return StreamingResponse(events(first, answers, query.target), media_type=EVENTS)
        await answers.aclose()
        if media_type == PNG:
            return await asyncio.to_thread(heat_map, first, query.target)
        return JSONResponse(await asyncio.to_thread(reply_of, first, query.target))

    async def _in_time(self, answer: Awaitable[Answer]) -> Answer:
        """An answer, unless it is long overdue.

        Raises:
            RefusedError: when none has come some time after the deadline.
        """
        try:
            async with asyncio.timeout(self._args.deadline_s + MOST_OVERDUE_S):
                return await answer
        except TimeoutError as error:
            raise RefusedError(504, "deadline", "no explainer has answered", 1.0) from error

    async def _answers(self, asked: ExplainRequest) -> AsyncGenerator[Answer, None]:
        """Answers of an explainer, which stops computing when they are not taken any longer.

        Raises:
            RefusedError: when the request is not served.
        """
        if self._explanations >= self._args.max_explanations:
            raise RefusedError.busy(f"{self._explanations} explanations are computed already")
        self._explanations += 1
        image = hashlib.blake2b(asked.encoded, digest_size=16).hexdigest()
        # Requests of one image go to one replica, which has its activations and scores.
        stream = self._explainer.options(session_id=image).explain.remote(asked)
        try:
            # Python 3.11's wait_for may lose a cancellation that comes together with the answer.
            async with asyncio.timeout(ACCEPTED_WITHIN_S):
                await anext(stream)
            async for answer in stream:
                if isinstance(answer, RefusedError):
                    raise answer
                yield answer
        except (TimeoutError, BackPressureError) as error:
            raise RefusedError.busy("no explainer takes another request") from error
        except RayError as error:
            raise RefusedError(503, "explainer_lost", "the explainer has died", 1.0) from error
        finally:
            self._explanations -= 1
            stream.cancel()


def build(args: AppArgs) -> Application:
    """The application that serve_config.yaml starts.

    Raises:
        CheckpointError: when there is no checkpoint, its network does not read images, or its
            weights are not those that were asked for.
    """
    manifest = read_checkpoint_manifest(args.checkpoint)
    require_images(manifest, args.checkpoint, use="served")
    require_network(manifest, args.checkpoint, "ier")
    pinned = args.model_copy(
        update={"weights_sha256": args.weights_sha256 or manifest.weights_sha256}
    )
    deployments: list[Any] = [Ingress, Explainer]  # decorated: no longer classes
    ingress, explainer = deployments
    application: Application = ingress.bind(pinned, explainer.bind(pinned))
    return application
