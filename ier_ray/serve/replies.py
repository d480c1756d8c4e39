"""Answers of the explainers as HTTP replies."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from fastapi import Response

from ier_ray.data.images import encode_png
from ier_ray.explain.rendering import overlay, to_npz
from ier_ray.records import ExplanationRecord
from ier_ray.serve.answers import Answer, Predicted
from ier_ray.serve.disconnection import ended
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.records import CostReply, ExplanationReply

Item = TypeVar("Item")

JSON, PNG, EVENTS = "application/json", "image/png", "text/event-stream"
NPZ = "application/x-npz"
"""Of NumPy's files of several arrays."""
SIDE = 448
"""Side of a heat map in pixels."""


def reply_of(answer: Answer | Predicted, media_type: str, path: str) -> Response:
    """An answer in a media type; a cost is always JSON."""
    if isinstance(answer, Predicted):
        body = CostReply.of(answer, path).model_dump_json()
        return Response(body, media_type=JSON)
    headers = {
        "explanation-complete": "true" if answer.complete else "false",
        "weights-sha256": answer.weights_sha256,
    }
    if media_type == PNG:
        return Response(heat_map(answer), headers=headers, media_type=PNG)
    if media_type == NPZ:
        return Response(to_npz(answer.explanation), headers=headers, media_type=NPZ)
    return Response(ExplanationReply.of_answer(answer).model_dump_json(), media_type=JSON)


def heat_map(answer: Answer) -> bytes:
    """The heat map of an answer as PNG."""
    record = ExplanationRecord.of(answer.explanation, answer.settings, answer.scheme, answer.target)
    density = answer.explanation.density_map(answer.scheme.index(record.target))
    return encode_png(overlay(answer.pixels, density, size=SIDE))


async def events(
    first: Answer | Predicted, others: AsyncGenerator[Answer | Predicted, None], path: str
) -> AsyncIterator[str]:
    """Answers as server-sent events; the last one may be an ``error``.

    A client that reads slowly has its levels kept here, and does not hold the explanation open.
    """
    async with contextlib.aclosing(ahead(others)) as coming:
        answer: Answer | Predicted | None = first
        while isinstance(answer, Answer):
            body = await asyncio.to_thread(event_of, answer)
            yield f"event: {'explanation' if answer.final else 'level'}\ndata: {body}\n\n"
            try:
                answer = await anext(coming, None)
            except RefusedError as refused:
                RefusedError.told(refused)
                yield f"event: error\ndata: {refused.problem(path).model_dump_json()}\n\n"
                return


async def ahead(source: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """What a generator yields, taken from it as it comes and not as it is wanted here.

    What is not wanted yet is kept: of an explanation, at most one answer per level.
    """
    found: asyncio.Queue[Item | None] = asyncio.Queue()

    async def take() -> None:
        try:
            async with contextlib.aclosing(source):
                async for each in source:
                    found.put_nowait(each)
        finally:
            found.put_nowait(None)

    taking = asyncio.create_task(take())
    try:
        while (each := await found.get()) is not None:
            yield each
        await taking  # raises what the source has raised
    finally:
        await ended(taking)


def event_of(answer: Answer) -> str:
    """The content of an event."""
    return ExplanationReply.of_answer(answer).model_dump_json()
