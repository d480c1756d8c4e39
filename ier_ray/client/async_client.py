"""The client of programs with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

import httpx

from ier_ray.client import calls
from ier_ray.client.async_jobs import AsyncJobMethods
from ier_ray.client.attempts import Attempts
from ier_ray.client.calls import Call
from ier_ray.client.images import Image, read, several, single
from ier_ray.client.parameters import Parameters
from ier_ray.client.records import (
    Arrays,
    Explanation,
    ModelInfo,
    Network,
    PredictedCost,
    PredictionReply,
    Refused,
)
from ier_ray.client.replies import (
    CONNECT_S,
    Levels,
    checked_url,
    headers_of,
    no_reply,
    problem_of,
    reading,
)
from ier_ray.errors import ServiceError

if TYPE_CHECKING:
    import numpy as np

Result = TypeVar("Result")


class AsyncClient(AsyncJobMethods):
    """A running service; as :class:`ier_ray.client.Client`, within one event loop.

    Args:
        url: address of the service, such as https://HOST:PORT.
        token: as the service's operator made it; None for a service that wants none.
        timeout: seconds within which a reply must have come, repetitions included; of a stream,
            longest silence in it.
        retries: how often a request is sent again at most, after a reply of 429 or 503 or when
            there was no connection; never after a reply has begun.
        transport: in place of the network.

    Raises:
        SettingsError: when the address or the token cannot be used.

    All methods raise ``ServiceError``: ``ProblemError`` when the service refuses (``status``,
    ``error``, ``detail``), ``UnreachableError``, ``OverdueError`` or ``BrokenReplyError``; and
    ``StorageError`` when an image cannot be read.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 120.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout, self._retries = timeout, retries
        self._http = httpx.AsyncClient(
            base_url=checked_url(url), headers=headers_of(token), transport=transport
        )

    async def info(self, *, network: Network = "ier") -> ModelInfo:
        """What a network is: its classes, its input, its weights."""
        return await self._result(calls.info(network))

    @overload
    async def predict(  # type: ignore[overload-overlap]  # a text is a path, no sequence
        self, image: Image, *, network: Network = "ier"
    ) -> PredictionReply: ...
    @overload
    async def predict(
        self, image: Sequence[Image], *, network: Network = "ier"
    ) -> list[PredictionReply | Refused]: ...
    async def predict(
        self, image: Image | Sequence[Image], *, network: Network = "ier"
    ) -> PredictionReply | list[PredictionReply | Refused]:
        """Class probabilities of an image; of several in one request, each of which fails alone."""
        many = several(image)
        if many is not None:
            batch = calls.predict_many(await _several(many), network)
            return await self._result(batch)
        call = calls.predict(await read(single(image)), network)
        return await self._result(call)

    async def explain(
        self, image: Image, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> Explanation:
        """The credits of an image's regions."""
        return await self._result(calls.explain(await read(image), network, parameters))

    async def explain_many(
        self,
        images: Sequence[Image],
        *,
        network: Network = "ier",
        **parameters: Unpack[Parameters],
    ) -> list[Explanation | Refused]:
        """Explanations of several images in one request, each of which fails alone."""
        each = await _several(images)
        return await self._result(calls.explain_many(each, network, parameters))

    async def levels(
        self, image: Image, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> AsyncGenerator[Explanation, None]:
        """Each level when it is finished, then the whole explanation.

        Closing the generator ends the computation.
        """
        call = calls.explain(await read(image), network, parameters, accept=calls.EVENTS)
        response = await self._begun(call, self._attempts(), silence=self._timeout)
        found = Levels()
        try:
            with reading():
                async for content in response.aiter_bytes():
                    for level in found.of(content):
                        yield level
                    if found.ended:
                        return
            found.check()
        finally:
            await response.aclose()

    async def cost(
        self, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> PredictedCost:
        """What an explanation would cost; nothing is computed."""
        return await self._result(calls.cost(network, parameters))

    async def heat_map(
        self, image: Image, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> bytes:
        """The heat map over the network's input, as the bytes of a PNG file."""
        return await self._result(calls.heat_map(await read(image), network, parameters))

    async def arrays(
        self, image: Image, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> Arrays:
        """The bytes of an npz file with the credits of all regions for all classes."""
        return await self._result(calls.arrays(await read(image), network, parameters))

    async def credits(
        self, image: Image, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays of that file by their names; ``credits`` is ``(regions, classes)``."""
        return calls.loaded(await self.arrays(image, network=network, **parameters))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _attempts(self) -> Attempts:
        return Attempts(self._retries, self._timeout)

    async def _result(self, call: Call[Result]) -> Result:
        attempts = self._attempts()
        response = await self._begun(call, attempts)
        content = []
        try:
            with reading():
                async for part in response.aiter_bytes():
                    content.append(part)
                    attempts.left_s()
        finally:
            await response.aclose()
        return call.read(b"".join(content), response.headers)

    async def _begun(
        self, call: Call[Any], attempts: Attempts, *, silence: float | None = None
    ) -> httpx.Response:
        """The response of a request, when it has begun and is no error."""
        while True:
            left = attempts.left_s()
            timeout = httpx.Timeout(left, connect=min(left, CONNECT_S), read=silence or left)
            try:
                response = await self._http.send(call.request(self._http, timeout), stream=True)
            except httpx.HTTPError as error:
                failure: ServiceError = no_reply(error)
            else:
                if response.is_success:
                    return response
                try:
                    with reading():
                        failure = problem_of(response, await response.aread())
                finally:
                    await response.aclose()
            await asyncio.sleep(attempts.wait_s(failure))


async def _several(images: Sequence[Image]) -> list[bytes]:
    return [await read(image) for image in images]
