"""Routes of the networks: what they are, and their predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from fastapi import APIRouter, Request, Response

from ier_ray.data.schema import Domain
from ier_ray.records import Prediction
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.instances import PredictInstances
from ier_ray.serve.interface import errors, upload
from ier_ray.serve.records import (
    Health,
    ModelInfo,
    ModelList,
    ModelReady,
    PredictionList,
    PredictionReply,
    Refused,
)
from ier_ray.serve.replies import JSON
from ier_ray.serve.service import MODEL, MODELS, READ, Network, Service, serving
from ier_ray.serve.uploads import read_uploads

router = APIRouter()

Found = TypeVar("Found")


@router.api_route(
    "/healthz",
    summary="Whether the service runs",
    responses=errors(),
    tags=["service"],
    methods=READ,
)
async def healthz(request: Request) -> Health:
    """Whether the service runs: its networks are loaded."""
    serving(request)
    return Health(status="ok")


@router.api_route(
    MODELS, summary="The served networks", responses=errors(), tags=["models"], methods=READ
)
async def models(request: Request) -> ModelList:
    """The networks of the served checkpoint."""
    return ModelList(models=list(serving(request).batchers))


@router.api_route(MODEL, summary="One network", responses=errors(), tags=["models"], methods=READ)
async def model(network: Network, request: Request) -> ModelInfo:
    """A served network, and whether it is ready."""
    manifest = serving(request, network).manifest
    return ModelInfo(
        name=network,
        ready=True,
        architecture=manifest.model.architecture,
        image_size=manifest.model.image_size,
        normalization=manifest.normalization,
        scheme=manifest.scheme,
        classes=manifest.classes,
        epoch=manifest.epoch,
        metrics=manifest.metrics,
        weights_sha256=manifest.weights_sha256,
    )


@router.api_route(
    f"{MODEL}/ready",
    summary="Whether it is ready",
    responses=errors(),
    tags=["models"],
    methods=READ,
)
async def ready(network: Network, request: Request) -> ModelReady:
    """Whether a network can be used."""
    serving(request, network)
    return ModelReady(name=network, ready=True)


@router.post(
    f"{MODEL}:predict",
    summary="Predict the emotion of images",
    tags=["models"],
    openapi_extra=upload(PredictInstances.__name__, several_files=True),
    responses=errors(400, 413, 415, 422),
    response_model=PredictionReply | PredictionList,
)
async def predict(network: Network, request: Request) -> Response:
    """The predicted emotion of an image, or of several.

    Several images are KServe's `instances`, or files of one form; the reply is a list then, and an
    image that cannot be read fails alone: in its place is an `error`.
    """
    service = serving(request, network)
    service.batchers[network].admit()
    args = service.args
    upload = await read_uploads(
        request, PredictInstances, args, most_images=args.max_instances, several_files=True
    )
    if isinstance(upload, bytes):
        prediction = await predicted(service, network, upload)
        reply = PredictionReply(**dict(prediction), weights_sha256=service.manifest.weights_sha256)
        return Response(reply.model_dump_json(), media_type=JSON)
    found = await each_alone(upload.each, lambda image: predicted(service, network, image))
    batch = PredictionList(
        predictions=in_places(found, request.url.path),
        weights_sha256=service.manifest.weights_sha256,
    )
    return Response(batch.model_dump_json(), media_type=JSON)


async def predicted(service: Service, network: Domain, encoded: bytes) -> Prediction:
    """The prediction of an encoded image.

    Raises:
        RefusedError: when it is too large or not an image.
    """
    probabilities = await service.batchers[network].predict(encoded)
    return Prediction.of(probabilities, service.manifest.label_scheme)


async def each_alone(
    images: Sequence[bytes | RefusedError], work: Callable[[bytes], Awaitable[Found]]
) -> list[Found | RefusedError]:
    """What comes of each image; one that is refused does not disturb the others.

    Raises:
        RefusedError: when the service failed for all of them, which are not to blame then.
    """

    async def alone(image: bytes | RefusedError) -> Found | RefusedError:
        if isinstance(image, RefusedError):
            return image
        try:
            return await work(image)
        except RefusedError as refused:
            return refused

    found = await asyncio.gather(*(alone(image) for image in images))
    failed = [each for each in found if isinstance(each, RefusedError) and each.status >= 500]
    if len(failed) == len(found):
        raise failed[0]
    return found


def in_places(found: Sequence[Found | RefusedError], path: str) -> list[Found | Refused]:
    """The same; in the place of a refusal its record."""
    return [
        Refused(error=each.problem(path, f"/instances/{place}"))
        if isinstance(each, RefusedError)
        else each
        for place, each in enumerate(found)
    ]
