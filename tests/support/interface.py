"""The service's interface in this process, without Ray: real networks, batches and engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from ier_ray.inference import Recognizer
from ier_ray.serve.answers import Answer, ExplainRequest, Predicted
from ier_ray.serve.api import Api
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.explanations import Explanations
from ier_ray.serve.schemas import AppArgs
from ier_ray.serve.service import Service
from support.checkpoints import save_tiny


class OwnExplainers:
    """Explains in this process."""

    def __init__(self, explanations: Explanations) -> None:
        self._explanations = explanations

    async def answers(self, request: ExplainRequest) -> AsyncGenerator[Answer | Predicted, None]:
        """As the protocol says."""
        async with contextlib.aclosing(self._explanations.explain(request)) as found:
            async for answer in found:
                if isinstance(answer, RefusedError):
                    raise answer
                if isinstance(answer, Answer | Predicted):
                    yield answer


@contextlib.contextmanager
def interface(directory: Path, **limits: Any) -> Iterator[tuple[TestClient, Recognizer]]:
    """A client of untrained networks for images of 32 pixels, and these networks."""
    location = str(directory)
    if not any(directory.iterdir()):
        save_tiny(directory)
    args = AppArgs(checkpoint=location, **limits)
    recognizer = Recognizer.load(location)
    explanations = Explanations(recognizer, args)
    service = Service.of(recognizer, args, OwnExplainers(explanations))
    try:
        with TestClient(Api(lambda: service), raise_server_exceptions=False) as client:
            yield client, recognizer
    finally:
        explanations.stop()
