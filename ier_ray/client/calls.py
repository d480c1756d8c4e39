"""Each request of the interface, and how its reply is read: what both clients share."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx
from pydantic import ValidationError

from ier_ray.client.errors import BrokenReplyError
from ier_ray.client.records import (
    Arrays,
    Explanation,
    ExplanationList,
    ModelInfo,
    Network,
    PredictedCost,
    PredictionList,
    PredictionReply,
    Record,
    Refused,
)

if TYPE_CHECKING:
    import numpy as np

RecordT = TypeVar("RecordT", bound=Record)
Result = TypeVar("Result")
ResultT = TypeVar("ResultT")

JSON, PNG, EVENTS, NPZ = "application/json", "image/png", "text/event-stream", "application/x-npz"
COMPLETE, WEIGHTS = "explanation-complete", "weights-sha256"
"""Headers of a reply that is not JSON."""


@dataclass(frozen=True)
class Call(Generic[Result]):
    """A request.

    Attributes:
        read: its result from the body and the headers of the reply.
    """

    path: str
    read: Callable[[bytes, httpx.Headers], Result]
    query: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    """Of a POST; without it, GET."""
    media_type: str = "application/octet-stream"
    accept: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further ones."""
    method: str | None = None
    """Where it is neither of these two."""

    def request(self, http: httpx.Client | httpx.AsyncClient, timeout: httpx.Timeout) -> Any:
        """The request of a client of HTTP."""
        headers = {"accept": self.accept, **self.headers}
        if self.content is not None:
            headers["content-type"] = self.media_type
        return http.build_request(
            self.method or ("GET" if self.content is None else "POST"),
            self.path,
            params=self.query,
            content=self.content,
            headers=headers,
            timeout=timeout,
        )


def info(network: Network) -> Call[ModelInfo]:
    """What a network is."""
    return Call(_model(network), json_of(ModelInfo))


def predict(image: bytes, network: Network) -> Call[PredictionReply]:
    """The probabilities of one image."""
    return Call(f"{_model(network)}:predict", json_of(PredictionReply), content=image)


def predict_many(
    images: Sequence[bytes], network: Network
) -> Call[list[PredictionReply | Refused]]:
    """The probabilities of several images."""

    def read(content: bytes, headers: httpx.Headers) -> list[PredictionReply | Refused]:
        found = json_of(PredictionList)(content, headers)
        return [
            each
            if isinstance(each, Refused)
            else PredictionReply(**dict(each), weights_sha256=found.weights_sha256)
            for each in found.predictions
        ]

    body = json.dumps({"instances": _instances(images)}).encode()
    return Call(f"{_model(network)}:predict", read, content=body, media_type=JSON)


def explain(
    image: bytes, network: Network, parameters: Mapping[str, Any], *, accept: str = JSON
) -> Call[Explanation]:
    """An explanation of one image."""
    return _explain(image, network, parameters, accept, json_of(Explanation))


def explain_many(
    images: Sequence[bytes], network: Network, parameters: Mapping[str, Any]
) -> Call[list[Explanation | Refused]]:
    """Explanations of several images."""

    def read(content: bytes, headers: httpx.Headers) -> list[Explanation | Refused]:
        return list(json_of(ExplanationList)(content, headers).predictions)

    body = instances(images, parameters)
    return Call(f"{_model(network)}:explain", read, content=body, media_type=JSON)


def heat_map(image: bytes, network: Network, parameters: Mapping[str, Any]) -> Call[bytes]:
    """The heat map of an explanation as PNG."""
    return _explain(image, network, parameters, PNG, png)


def arrays(image: bytes, network: Network, parameters: Mapping[str, Any]) -> Call[Arrays]:
    """The arrays of an explanation, as the bytes of an npz file."""
    return _explain(image, network, parameters, NPZ, npz)


def cost(network: Network, parameters: Mapping[str, Any]) -> Call[PredictedCost]:
    """What an explanation would cost."""
    return Call(f"{_model(network)}:cost", json_of(PredictedCost), query=_given(parameters))


def png(content: bytes, _: httpx.Headers) -> bytes:
    """A heat map, as it is."""
    return content


def npz(content: bytes, headers: httpx.Headers) -> Arrays:
    """The arrays of a reply.

    Raises:
        BrokenReplyError: when it does not say of which weights they are, and whether of all levels.
    """
    if COMPLETE not in headers or WEIGHTS not in headers:
        raise BrokenReplyError(
            f"the reply has no {COMPLETE} and {WEIGHTS}: the service is older than this client"
        )
    complete = headers[COMPLETE] == "true"
    return Arrays(content=content, complete=complete, weights_sha256=headers[WEIGHTS])


def loaded(found: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an npz file, by name.

    Raises:
        BrokenReplyError: when it is none.
    """
    import numpy as np  # noqa: PLC0415 (nothing else here needs it)

    try:
        with np.load(io.BytesIO(found.content), allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError) as error:
        raise BrokenReplyError(f"the reply is no npz file: {error}") from error


def parsed(record: type[RecordT], content: bytes | str) -> RecordT:
    """A record of JSON.

    Raises:
        BrokenReplyError: when it is something else.
    """
    try:
        return record.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise BrokenReplyError(
            f"the reply is not a {record.__name__} ({where}: {problem['msg']}): another version of "
            f"the service, or another program"
        ) from error


def json_of(record: type[RecordT]) -> Callable[[bytes, httpx.Headers], RecordT]:
    """Reads a record."""
    return lambda content, _: parsed(record, content)


def instances(images: Sequence[bytes], parameters: Mapping[str, Any]) -> bytes:
    """A body with several images that have the same parameters."""
    body = {"instances": _instances(images), "parameters": _given(parameters)}
    return json.dumps(body).encode()


def _explain(
    image: bytes,
    network: Network,
    parameters: Mapping[str, Any],
    accept: str,
    read: Callable[[bytes, httpx.Headers], ResultT],
) -> Call[ResultT]:
    path = f"{_model(network)}:explain"
    return Call(path, read, query=_given(parameters), content=image, accept=accept)


def _model(network: Network) -> str:
    return f"v1/models/{network}"


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _instances(images: Sequence[bytes]) -> list[dict[str, str]]:
    return [{"b64": base64.b64encode(image).decode()} for image in images]
