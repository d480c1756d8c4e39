"""The HTTP interface: validates requests, delegates to the deployments, formats replies."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from ier_ray import __version__
from ier_ray.cluster.explain_pool import ExplainRequest
from ier_ray.data.images import Pixels, encode_png
from ier_ray.emotions import EmotionScheme
from ier_ray.explain.rendering import overlay
from ier_ray.inference import ExplainerSettings
from ier_ray.records import ExplanationRecord, Prediction
from ier_ray.serve.deployments import Classifier, Explainer
from ier_ray.serve.schemas import (
    AppArgs,
    ErrorReply,
    ExplainQuery,
    Health,
    ModelInfo,
)
from ier_ray.serve.uploads import FORM_FIELD, UploadError, read_pixels
from ier_ray.training.checkpoint import read_checkpoint_manifest, require_images, require_network

MODEL = "/v1/models/ier"
PNG = "image/png"
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
    status: {"model": ErrorReply} for status in (400, 413, 415, 422)
}

api = FastAPI(title="ier_ray", version=__version__)


@api.exception_handler(UploadError)
async def upload_error(_: Request, error: UploadError) -> JSONResponse:
    """An upload that cannot be used, as a JSON error."""
    return error_reply(error.status, error.error, str(error))


@api.exception_handler(RequestValidationError)
async def bad_parameter(_: Request, error: RequestValidationError) -> JSONResponse:
    """A bad query parameter, as a JSON error: its name, the rule, and the value."""
    return error_reply(422, "bad_parameter", "; ".join(map(complaint, error.errors())))


def complaint(problem: Mapping[str, Any]) -> str:
    """One pydantic validation error as one line."""
    name = ".".join(str(part) for part in problem["loc"] if part != "query")
    if not name:  # concerns several parameters: the message names the values
        return str(problem["msg"])
    return f"{name}: {problem['msg']}, got {problem.get('input')!r}"


def class_index(name: str, scheme: EmotionScheme) -> int:
    """The index of a class.

    Raises:
        UploadError: when there is no class of that name.
    """
    if name not in scheme.classes:
        known = ", ".join(scheme.classes)
        raise UploadError(422, "bad_parameter", f"target: must be one of {known}, got {name!r}")
    return scheme.index(name)


def merged(query: ExplainQuery, configured: ExplainerSettings) -> ExplainerSettings:
    """The service's explainer settings, overridden by a request's.

    Raises:
        UploadError: when the combined settings are invalid.
    """
    try:
        return query.over(configured)
    except ValidationError as error:
        lines = "; ".join(complaint(dict(problem)) for problem in error.errors())
        raise UploadError(422, "bad_parameter", lines) from error


def error_reply(status: int, error: str, detail: str) -> JSONResponse:
    """An error response."""
    return JSONResponse(ErrorReply(error=error, detail=detail).model_dump(), status_code=status)


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
@serve.ingress(api)
class Ingress:
    """Serves the model's description itself and delegates the rest by handle."""

    def __init__(
        self, args: AppArgs, classifier: DeploymentHandle, explainer: DeploymentHandle
    ) -> None:
        self._args = args
        self._manifest = read_checkpoint_manifest(args.checkpoint)
        self._classifier = classifier
        self._explainer = explainer

    @api.get("/healthz")
    async def healthz(self) -> Health:
        """Whether the service can predict."""
        await self._classifier.ready.remote()
        return Health(status="ok")

    @api.get(MODEL)
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

    @api.post(f"{MODEL}:predict", openapi_extra=UPLOAD, responses=ERRORS)
    async def predict(self, request: Request) -> Prediction:
        """The predicted emotion of an image."""
        pixels, scheme = await self._upload(request)
        return Prediction.of(await self._classifier.predict.remote(pixels), scheme)

    @api.post(
        f"{MODEL}:explain",
        openapi_extra=UPLOAD,
        response_model=ExplanationRecord,
        responses={**ERRORS, 200: {"content": {PNG: BINARY}}},
    )
    async def explain(
        self,
        request: Request,
        query: Annotated[ExplainQuery, Query()],
    ) -> Response | ExplanationRecord:
        """DnCShap credits of an image's regions; with ``Accept: image/png``, the heat map."""
        pixels, scheme = await self._upload(request)
        target = None if query.target is None else class_index(query.target, scheme)
        settings = merged(query, self._args.explainer)
        if settings.depth > self._args.max_depth:
            raise UploadError(
                422,
                "bad_parameter",
                f"depth: must be <= {self._args.max_depth}, got {settings.depth}",
            )
        explanation = await self._explainer.explain.remote(
            ExplainRequest(pixels, settings, "ier", target)
        )
        record = ExplanationRecord.of(explanation, settings, scheme, query.target)
        if PNG in request.headers.get("accept", ""):
            heat = overlay(pixels, explanation.density_map(scheme.index(record.target)))
            return Response(encode_png(heat), media_type=PNG)
        return record

    async def _upload(self, request: Request) -> tuple[Pixels, EmotionScheme]:
        manifest = self._manifest
        pixels = await read_pixels(
            request,
            preprocessing=manifest.preprocessing,
            max_bytes=self._args.max_upload_bytes,
            max_pixels=self._args.max_upload_pixels,
        )
        return pixels, manifest.label_scheme


def build(args: AppArgs) -> Application:
    """The application that serve_config.yaml starts.

    Raises:
        CheckpointError: when there is no checkpoint, or its network does not read images.
    """
    manifest = read_checkpoint_manifest(args.checkpoint)
    require_images(manifest, args.checkpoint, use="served")
    require_network(manifest, args.checkpoint, "ier")
    deployments: list[Any] = [Ingress, Classifier, Explainer]  # decorated: no longer classes
    ingress, classifier, explainer = deployments
    application: Application = ingress.bind(args, classifier.bind(args), explainer.bind(args))
    return application
