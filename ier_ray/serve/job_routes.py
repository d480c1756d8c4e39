"""Routes of explanations as jobs."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from ier_ray.serve.access import charge, client_name
from ier_ray.serve.answers import ExplainRequest, class_index, merged
from ier_ray.serve.errors import UNPROCESSABLE, RefusedError
from ier_ray.serve.explanation_routes import costed, parameters_of
from ier_ray.serve.instances import JobInstances
from ier_ray.serve.interface import EXPLAINED_HEADERS, JOB_RESULT, errors, upload
from ier_ray.serve.jobs.records import JOBS, JobList, JobReply, Jobs, JobSpec, Refusal
from ier_ray.serve.model_routes import each_alone
from ier_ray.serve.negotiation import preferred
from ier_ray.serve.records import ExplanationReply
from ier_ray.serve.replies import JSON, NPZ, PNG, reply_of
from ier_ray.serve.schemas import ExplainParameters, JobParameters
from ier_ray.serve.service import READ, Service, serving
from ier_ray.serve.uploads import Images, read_uploads

MOST_LISTED = 100


class JobConvertor(StringConvertor):
    """Of paths: ids of jobs, so that other words are no routes."""

    regex = "[0-9a-f]{32}"


register_url_convertor("job", JobConvertor())
JOB = f"{JOBS}/{{job:job}}"
JobId = Annotated[str, Path(description="The id of the job.", pattern=f"^{JobConvertor.regex}$")]
Place = Annotated[int, Path(description="Place of the image in the job, from 0.", ge=0)]
Key = Annotated[
    str | None,
    Header(description="Chosen by the client.", pattern=r"^[!-~]{1,255}$"),
]

LINKS = {
    name: {"operationId": name, "parameters": {"job": "$response.body#/id"}}
    for name in ("status", "cancel", "delete")
} | {"result": {"operationId": "result", "parameters": {"job": "$response.body#/id", "place": 0}}}
"""What a client does with a job, by the names of the routes."""

router = APIRouter(tags=["jobs"])


@router.post(
    JOBS,
    summary="Explain images as a job",
    status_code=202,
    openapi_extra=upload(JobInstances.__name__, several_files=True),
    responses={
        **errors(400, 413, 415, 422, 504),
        202: {"headers": {"Location": {"schema": {"type": "string"}}}, "links": LINKS},
    },
)
async def submit(
    request: Request,
    response: Response,
    query: Annotated[JobParameters, Query()],
    idempotency_key: Key = None,
) -> JobReply:
    """Record a job that explains one image or several, and reply at once.

    It goes on when the client disconnects and when the service is started again; no level that is
    finished is computed twice. The same image with a greater depth computes only what is new. The
    same `Idempotency-Key` is the same job.
    """
    service = serving(request, query.network)
    jobs = jobs_of(service)
    images, spec = await asked(request, query, service)
    job = uuid.uuid4().hex if idempotency_key is None else id_of(spec.owner, idempotency_key)
    found = await jobs.known(job, spec)
    if found is None:
        await charged(job, spec, len(images), service)
        found = await jobs.submit(job, spec, images)
    response.headers["location"] = f"{JOBS}/{job}"
    return JobReply.of(found)


@router.api_route(
    JOBS,
    summary="The newest jobs",
    responses=errors(422),
    methods=READ,
)
async def recent(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED, description="Jobs at most.")] = 20,
) -> JobList:
    """Jobs of this client, the newest first."""
    found = await jobs_of(serving(request)).recent(client_name(), limit)
    return JobList(jobs=[JobReply.of(each) for each in found])


@router.api_route(JOB, summary="A job", responses=errors(422), methods=READ)
async def status(request: Request, job: JobId) -> JobReply:
    """How far a job is."""
    return JobReply.of(await jobs_of(serving(request)).get(client_name(), job))


@router.post(f"{JOB}:cancel", summary="Stop a job", responses=errors(422))
async def cancel(request: Request, job: JobId) -> JobReply:
    """Stop a job after the batch that runs. What is finished of it can still be read.

    A job that has ended stays as it is.
    """
    return JobReply.of(await jobs_of(serving(request)).cancel(client_name(), job))


@router.delete(JOB, summary="Delete a job", status_code=204, responses=errors(422))
async def delete(request: Request, job: JobId) -> None:
    """Stop a job and forget it, with all that no other job needs: images, explanations, scores."""
    await jobs_of(serving(request)).delete(client_name(), job)


@router.api_route(
    f"{JOB}/{{place:int}}",
    summary="The explanation of an image of a job",
    response_model=ExplanationReply,
    responses={
        **errors(406, 409, 422),
        200: {"content": JOB_RESULT, "headers": EXPLAINED_HEADERS},
    },
    methods=READ,
)
async def result(request: Request, job: JobId, place: Place) -> Response:
    """What is finished of the explanation: `complete` is false until it is the whole.

    As JSON, with `Accept: image/png` as heat map, with `application/x-npz` as NumPy's arrays.
    """
    media_type = preferred(request.headers.get("accept", ""), (JSON, PNG, NPZ))
    answer = await jobs_of(serving(request)).answer(client_name(), job, place)
    return await asyncio.to_thread(reply_of, answer, media_type, request.url.path)


def jobs_of(service: Service) -> Jobs:
    """The jobs of a service.

    Raises:
        RefusedError: with status 404 when it has none.
    """
    if service.jobs is None:
        raise RefusedError(404, "no_jobs", "this service has no jobs: set args.jobs to have them")
    return service.jobs


async def asked(
    request: Request, query: JobParameters, service: Service
) -> tuple[list[bytes], JobSpec]:
    """What a request asks for: its usable images, and the job.

    Raises:
        RefusedError: when it cannot be used, or none of its images.
    """
    args = service.args
    most = 1 if args.jobs is None else args.jobs.max_images
    found = await read_uploads(request, JobInstances, args, most_images=most, several_files=True)
    parameters: ExplainParameters = query
    each: list[bytes | RefusedError] = [found] if isinstance(found, bytes) else found.each
    if isinstance(found, Images):
        given = None if found.body is None else found.body.parameters
        parameters = parameters_of(given, parameters, beside=frozenset({"network"}))
    settings = merged(parameters, args)
    class_index(parameters.target, service.manifest.label_scheme)

    async def readable(image: bytes) -> bytes:
        await service.decoder.decode(image)
        return image

    checked = await each_alone(each, readable)
    images = [image for image in checked if isinstance(image, bytes)]
    if not images and isinstance(checked[0], RefusedError):
        if isinstance(found, bytes):
            raise checked[0]
        detail = f"none of the {len(checked)} images can be used; the first: {checked[0].detail}"
        raise RefusedError(UNPROCESSABLE, "bad_images", detail)
    spec = JobSpec(
        owner=client_name(),
        network=query.network,
        settings=settings,
        target=parameters.target,
        uploads=tuple(
            hashlib.sha256(image).hexdigest() if isinstance(image, bytes) else Refusal.of(image)
            for image in checked
        ),
    )
    return images, spec


async def charged(job: str, spec: JobSpec, images: int, service: Service) -> None:
    """Count the predicted seconds of a job; once, however often its submission is tried.

    Raises:
        RefusedError: when an explanation would take too long, or the client may have no more.
    """
    parameters = ExplainParameters(**dict(spec.settings))
    one = await costed(
        service, ExplainRequest(None, spec.network, parameters, dry_run=True, for_job=True)
    )
    if one.refusal is not None and one.refusal.status == UNPROCESSABLE:  # work that waits, waits
        raise one.refusal
    await charge(one.seconds * images, once=job)


def id_of(owner: str, key: str) -> str:
    """The job of a client's key."""
    return hashlib.sha256(f"{owner}\n{key}".encode()).hexdigest()[:32]
