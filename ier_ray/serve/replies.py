"""Answers of the explainers as HTTP replies."""

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from fastapi import Response

from ier_ray.data.images import encode_png
from ier_ray.explain.rendering import overlay
from ier_ray.records import ExplanationRecord
from ier_ray.serve.deployments import Answer
from ier_ray.serve.errors import ErrorReply, RefusedError

JSON, PNG, EVENTS = "application/json", "image/png", "text/event-stream"
SIDE = 448
"""Side of a heat map in pixels."""


def reply_of(answer: Answer, target: str | None) -> dict[str, Any]:
    """The JSON of an answer."""
    record = ExplanationRecord.of(answer.explanation, answer.settings, answer.scheme, target)
    return {
        **record.model_dump(mode="json"),
        "complete": answer.complete,
        "weights_sha256": answer.weights_sha256,
    }


def heat_map(answer: Answer, target: str | None) -> Response:
    """The heat map of an answer as PNG."""
    record = ExplanationRecord.of(answer.explanation, answer.settings, answer.scheme, target)
    density = answer.explanation.density_map(answer.scheme.index(record.target))
    return Response(encode_png(overlay(answer.pixels, density, size=SIDE)), media_type=PNG)


async def events(
    first: Answer, others: AsyncGenerator[Answer, None], target: str | None
) -> AsyncIterator[str]:
    """Answers as server-sent events; the last one may be an ``error``."""
    async with contextlib.aclosing(others):
        answer: Answer | None = first
        while answer is not None:
            name = "explanation" if answer.final else "level"
            yield f"event: {name}\ndata: {json.dumps(reply_of(answer, target))}\n\n"
            try:
                answer = await anext(others, None)
            except RefusedError as refused:
                body = ErrorReply(error=refused.error, detail=refused.detail)
                yield f"event: error\ndata: {body.model_dump_json()}\n\n"
                return
