"""The client of programs that wait for replies."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

import httpx

from ier_ray.client import calls
from ier_ray.client.attempts import Attempts
from ier_ray.client.calls import Call
from ier_ray.client.images import Image, bytes_of, several, single
from ier_ray.client.jobs import JobMethods
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


class Client(JobMethods):
    """A running service. Several threads may use one client.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._timeout, self._retries = timeout, retries
        self._http = httpx.Client(
            base_url=checked_url(url), headers=headers_of(token), transport=transport
        )

    def info(self, *, network: Network = "ier") -> ModelInfo:
        """What a network is: its classes, its input, its weights."""
        return self._result(calls.info(network))

    @overload
    def predict(  # type: ignore[overload-overlap]  # a text is a path, no sequence
        self, image: Image, *, network: Network = "ier"
    ) -> PredictionReply: ...
    @overload
    def predict(
        self, image: Sequence[Image], *, network: Network = "ier"
    ) -> list[PredictionReply | Refused]: ...
    def predict(
        self, image: Image | Sequence[Image], *, network: Network = "ier"
    ) -> PredictionReply | list[PredictionReply | Refused]:
        """Class probabilities of an image; of several in one request, each of which fails alone."""
        many = several(image)
        if many is not None:
            batch = calls.predict_many(list(map(bytes_of, many)), network)
            return self._result(batch)
        call = calls.predict(bytes_of(single(image)), network)
        return self._result(call)

    def explain(
        self, image: Image, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> Explanation:
        """The credits of an image's regions."""
        return self._result(calls.explain(bytes_of(image), network, parameters))

    def explain_many(
        self,
        images: Sequence[Image],
        *,
        network: Network = "ier",
        **parameters: Unpack[Parameters],
    ) -> list[Explanation | Refused]:
        """Explanations of several images in one request, each of which fails alone."""
        each = list(map(bytes_of, images))
        return self._result(calls.explain_many(each, network, parameters))

    def levels(
        self, image: Image, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> Generator[Explanation, None, None]:
        """Each level when it is finished, then the whole explanation.

        Closing the generator ends the computation.
        """
        call = calls.explain(bytes_of(image), network, parameters, accept=calls.EVENTS)
        response = self._begun(call, self._attempts(), silence=self._timeout)
        found = Levels()
        try:
            with reading():
                for content in response.iter_bytes():
                    yield from found.of(content)
                    if found.ended:
                        return
            found.check()
        finally:
            response.close()

    def cost(self, *, network: Network = "ier", **parameters: Unpack[Parameters]) -> PredictedCost:
        """What an explanation would cost; nothing is computed."""
        return self._result(calls.cost(network, parameters))

    def heat_map(
        self, image: Image, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> bytes:
        """The heat map over the network's input, as the bytes of a PNG file."""
        return self._result(calls.heat_map(bytes_of(image), network, parameters))

    def arrays(
        self, image: Image, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> Arrays:
        """The bytes of an npz file with the credits of all regions for all classes."""
        return self._result(calls.arrays(bytes_of(image), network, parameters))

    def credits(
        self, image: Image, *, network: Network = "ier", **parameters: Unpack[Parameters]
    ) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays of that file by their names; ``credits`` is ``(regions, classes)``."""
        return calls.loaded(self.arrays(image, network=network, **parameters))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attempts(self) -> Attempts:
        return Attempts(self._retries, self._timeout)

    def _result(self, call: Call[Result]) -> Result:
        attempts = self._attempts()
        response = self._begun(call, attempts)
        content = []
        try:
            with reading():
                for part in response.iter_bytes():
                    content.append(part)
                    attempts.left_s()
        finally:
            response.close()
        return call.read(b"".join(content), response.headers)

    def _begun(
        self, call: Call[Any], attempts: Attempts, *, silence: float | None = None
    ) -> httpx.Response:
        """The response of a request, when it has begun and is no error."""
        while True:
            left = attempts.left_s()
            timeout = httpx.Timeout(left, connect=min(left, CONNECT_S), read=silence or left)
            try:
                response = self._http.send(call.request(self._http, timeout), stream=True)
            except httpx.HTTPError as error:
                failure: ServiceError = no_reply(error)
            else:
                if response.is_success:
                    return response
                try:
                    with reading():
                        failure = problem_of(response, response.read())
                finally:
                    response.close()
            time.sleep(attempts.wait_s(failure))
