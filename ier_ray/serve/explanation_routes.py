"""Routes of explanations, and of their costs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from ier_ray.data.schema import Domain
from ier_ray.serve.answers import Answer, ExplainRequest, Predicted
from ier_ray.serve.disconnection import unless_disconnected
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.instances import ExplainInstances
from ier_ray.serve.interface import EXPLAINED, EXPLAINED_HEADERS, errors, upload
from ier_ray.serve.model_routes import each_alone, in_places
from ier_ray.serve.negotiation import preferred
from ier_ray.serve.records import CostReply, ExplanationList, ExplanationReply
from ier_ray.serve.replies import EVENTS, JSON, NPZ, PNG, events, reply_of
from ier_ray.serve.schemas import DryRunParameters, ExplainParameters
from ier_ray.serve.service import MODEL, READ, Network, Service, serving
from ier_ray.serve.uploads import Images, read_uploads

MOST_OVERDUE_S = 10.0
"""Seconds after the deadline within which an explainer that works has answered."""
AT_ONCE = 4
"""Images of one request that are explained at the same time."""

ParametersT = TypeVar("ParametersT", bound=ExplainParameters)

router = APIRouter()


@router.api_route(
    f"{MODEL}:cost",
    summary="What an explanation would cost",
    tags=["explanations"],
    responses=errors(422, 504),
    methods=READ,
)
async def cost(
    network: Network,
    request: Request,
    query: Annotated[ExplainParameters, Query()],
) -> CostReply:
    """What an explanation with these parameters would cost, whatever the image.

    Nothing is computed. The same for one image: `dry_run` of `:explain`.
    """
    service = serving(request, network)
    asked = ExplainRequest(None, network, query, dry_run=True)
    path = request.url.path
    return CostReply.of(await unless_disconnected(request, costed(service, asked)), path)


@router.post(
    f"{MODEL}:explain",
    summary="Explain images",
    tags=["explanations"],
    openapi_extra=upload(ExplainInstances.__name__, several_files=False),
    response_model=ExplanationReply | CostReply | ExplanationList,
    responses={
        **errors(400, 406, 413, 415, 422, 504),
        200: {"content": EXPLAINED, "headers": EXPLAINED_HEADERS},
    },
)
async def explain(
    network: Network,
    request: Request,
    query: Annotated[DryRunParameters, Query()],
) -> Response:
    """DnCShap credits of an image's regions, or of each of several images.

    With `Accept: image/png` the heat map; with `application/x-npz` the credits of every level and
    class as NumPy's arrays; with `text/event-stream` an event `level` for each level when it is
    finished, and an event `explanation` at the end, each with the same JSON. Several images are
    KServe's `instances`; the reply is a JSON list then, and one that fails, fails alone.
    """
    service = serving(request, network)
    accept = request.headers.get("accept", "")
    media_type = preferred(accept, (JSON,) if query.dry_run else (JSON, PNG, EVENTS, NPZ))
    args = service.args
    images = await read_uploads(
        request, ExplainInstances, args, most_images=args.max_instances, several_files=False
    )
    if isinstance(images, Images):
        preferred(accept, (JSON,))
        given = None if images.body is None else images.body.parameters
        parameters = parameters_of(given, query)
        batch = Batch(network, parameters, service, request.url.path)
        found = await unless_disconnected(request, batch.explained(images))
        return Response(found.model_dump_json(), media_type=JSON)
    asked = ExplainRequest(
        images, network, query, dry_run=query.dry_run, levels=media_type == EVENTS
    )
    answers = service.explainers.answers(asked)
    # Before the reply begins: a refusal is a status then, not a broken stream.
    first = await unless_disconnected(request, in_time(anext(answers), service))
    path = request.url.path
    if media_type == EVENTS and isinstance(first, Answer):
        return StreamingResponse(events(first, answers, path), media_type=EVENTS)
    await answers.aclose()
    return await asyncio.to_thread(reply_of, first, media_type, path)


def parameters_of(
    given: ParametersT | None, query: ParametersT, *, beside: frozenset[str] = frozenset()
) -> ParametersT:
    """The parameters of a request with several images: in its JSON or in its query.

    Args:
        given: those of the JSON, if there is one.
        beside: names of the query that a JSON has no place for.

    Raises:
        RefusedError: when they are in both.
    """
    if given is None or not given.model_fields_set:
        return query
    if query.model_fields_set - beside:
        raise RefusedError.parameter("parameters: give them in the query or in the body, not both")
    return given


@dataclass(frozen=True)
class Batch:
    """Several images of one request, explained with the same parameters.

    Attributes:
        path: of the request.
    """

    network: Domain
    parameters: DryRunParameters
    service: Service
    path: str

    async def explained(self, images: Images[ExplainInstances]) -> ExplanationList:
        """The reply.

        Raises:
            RefusedError: when the parameters cannot be used, all images together would take too
                long, or the service failed for all of them.
        """
        args, count = self.service.args, len(images.each)
        if not self.parameters.dry_run:
            one = await costed(self.service, self._asked(None, dry_run=True))
            if one.seconds * count > args.max_explanation_s:
                raise RefusedError.parameter(
                    f"{count} explanations would take about {one.seconds * count:.0f} s, "
                    f"{args.max_explanation_s:g} s are allowed: send fewer images, lower depth, or "
                    f"give a budget"
                )
        deadline, room = time.monotonic() + args.deadline_s, asyncio.Semaphore(AT_ONCE)

        async def alone(encoded: bytes) -> ExplanationReply | CostReply:
            async with room:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise RefusedError(504, "deadline", "its turn had not come by the deadline")
                return await self._reply(
                    self._asked(encoded, dry_run=self.parameters.dry_run, within_s=left_s)
                )

        found = await each_alone(images.each, alone)
        return ExplanationList(predictions=in_places(found, self.path))

    async def _reply(self, asked: ExplainRequest) -> ExplanationReply | CostReply:
        answer = await only_answer(self.service, asked)
        if isinstance(answer, Predicted):
            return CostReply.of(answer, self.path)
        return await asyncio.to_thread(ExplanationReply.of_answer, answer)

    def _asked(
        self, encoded: bytes | None, *, dry_run: bool, within_s: float = float("inf")
    ) -> ExplainRequest:
        return ExplainRequest(
            encoded, self.network, self.parameters, dry_run=dry_run, within_s=within_s
        )


async def costed(service: Service, asked: ExplainRequest) -> Predicted:
    """The cost of a dry run.

    Raises:
        RefusedError: when the parameters cannot be used, or no explainer answers.
    """
    answer = await only_answer(service, asked)
    if not isinstance(answer, Predicted):
        raise TypeError(f"a dry run gave {type(answer).__name__}")
    return answer


async def only_answer(service: Service, asked: ExplainRequest) -> Answer | Predicted:
    """The answer to a request that has one."""
    async with contextlib.aclosing(service.explainers.answers(asked)) as answers:
        return await in_time(anext(answers), service)


async def in_time(answer: Awaitable[Answer | Predicted], service: Service) -> Answer | Predicted:
    """An answer, unless it is long overdue.

    Raises:
        RefusedError: when none has come some time after the deadline.
    """
    try:
        async with asyncio.timeout(service.args.deadline_s + MOST_OVERDUE_S):
            return await answer
    except TimeoutError as error:
        raise RefusedError(504, "deadline", "no explainer has answered", 1.0) from error
