"""Requests that are refused, and their replies: problem details (RFC 9457)."""

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

from ier_ray.errors import ImageError

PROBLEM = "application/problem+json"
NOT_ALLOWED, UNSUPPORTED, TOO_LARGE, UNPROCESSABLE, BUSY = 405, 415, 413, 422, 503
TOO_SLOW = 408
TYPES = "urn:ier-ray:problem:"
"""What the type of a problem begins with; its word follows."""
WORDS = {404: "not_found", 405: "method_not_allowed", 408: "timeout", 500: "internal", 503: "busy"}
INTERNAL = "the request failed; the service's log says why"


class Problem(BaseModel):
    """Body of every 4xx and 5xx reply (RFC 9457)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = Field(examples=[f"{TYPES}bad_parameter"])
    """What kind of problem it is: a name that does not change."""
    title: str = Field(examples=["Bad parameter"])
    """The kind in words."""
    status: int = Field(examples=[422], ge=400, le=599)
    """HTTP status."""
    detail: str = Field(examples=["depth: must be <= 10, got 12"])
    """What was wrong with this request, and what to do."""
    instance: str = Field(examples=["/v1/models/ier:explain"])
    """The request's path; of one image among several, with its place after ``#``."""
    error: str = Field(examples=["bad_parameter"])
    """The last part of ``type``, to count by."""


class RefusedError(Exception):
    """A request that is not served.

    Attributes:
        status: of the reply.
        error: a stable word to count by.
        detail: what was wrong, and what to do.
        retry_after_s: after how many seconds to try again, if that may help.
        told: told of each refusal that becomes a reply, or ends one that has begun. Set by the
            replica, which counts them.
    """

    told: ClassVar[Callable[["RefusedError"], None]] = staticmethod(lambda _: None)

    def __init__(
        self, status: int, error: str, detail: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(status, error, detail, retry_after_s)
        self.status, self.error, self.detail = status, error, detail
        self.retry_after_s = retry_after_s

    @classmethod
    def busy(cls, detail: str, wait_s: float = 1.0) -> "RefusedError":
        """More waits already than may wait."""
        return cls(BUSY, "busy", f"{detail}; try again in {wait_s:.0f} s", wait_s)

    @classmethod
    def image(cls, error: ImageError) -> "RefusedError":
        """The upload is not a usable image."""
        status = TOO_LARGE if error.reason == "too_large" else UNSUPPORTED
        return cls(status, error.reason, str(error))

    @classmethod
    def parameter(cls, detail: str) -> "RefusedError":
        """A parameter that cannot be used."""
        return cls(UNPROCESSABLE, "bad_parameter", detail)

    def problem(self, path: str, place: str = "") -> Problem:
        """The body of the reply.

        Args:
            path: of the request.
            place: of one image in the request's body, as a JSON pointer.
        """
        return Problem(
            type=f"{TYPES}{self.error}",
            title=self.error.replace("_", " ").capitalize(),
            status=self.status,
            detail=self.detail,
            instance=quote(path, safe="/:@!$&'()*+,;=~") + (f"#{place}" if place else ""),
            error=self.error,
        )

    def reply(self, path: str) -> JSONResponse:
        """The response to the request of a path."""
        RefusedError.told(self)
        wait = self.retry_after_s
        headers = None if wait is None else {"retry-after": str(max(1, math.ceil(wait)))}
        body = self.problem(path).model_dump()
        return JSONResponse(body, self.status, headers, media_type=PROBLEM)


def too_large(max_bytes: int) -> RefusedError:
    """The upload has too many bytes."""
    return RefusedError(
        TOO_LARGE, "too_large", f"the upload has more than the {max_bytes} bytes allowed"
    )


def too_slow(seconds: float) -> RefusedError:
    """The request has not arrived in time."""
    return RefusedError(
        TOO_SLOW, "timeout", f"the request's body has not arrived within {seconds:g} s"
    )


def handle_errors(api: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Make every error of an interface a reply with the documented body.

    Args:
        routers: that the interface includes.
    """
    included = [each for router in routers for each in router.routes]

    @api.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return error.reply(request.url.path)

    @api.exception_handler(RequestValidationError)
    async def bad_parameter(request: Request, error: RequestValidationError) -> JSONResponse:
        refused = RefusedError.parameter("; ".join(map(complaint, error.errors())))
        return refused.reply(request.url.path)

    @api.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        name = WORDS.get(error.status_code, "http_error")
        path = request.url.path
        detail = f"{request.method} {path}: {error.detail}; /docs lists all routes"
        reply = RefusedError(error.status_code, name, detail).reply(path)
        reply.headers.update(error.headers or {})
        if error.status_code == NOT_ALLOWED:
            # The framework names the methods of the first route of a path alone.
            routes = [*included, *api.router.routes]
            reply.headers["allow"] = ", ".join(methods_of(request, routes))
        return reply

    @api.exception_handler(Exception)
    async def internal(request: Request, _: Exception) -> JSONResponse:
        return RefusedError(500, "internal", INTERNAL).reply(request.url.path)


def methods_of(request: Request, routes: Sequence[BaseRoute]) -> list[str]:
    """Methods of all routes of a request's path."""
    fitting = [
        each
        for each in routes
        if isinstance(each, Route) and each.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({method for each in fitting for method in each.methods or ()})


def complaint(problem: Mapping[str, Any]) -> str:
    """One pydantic validation error as one line."""
    name = ".".join(str(part) for part in problem["loc"] if part != "query")
    if not name:  # concerns several parameters: the message names the values
        return str(problem["msg"])
    return f"{name}: {problem['msg']}, got {SHORT.repr(problem.get('input'))}"


SHORT = reprlib.Repr()
"""Repeats no more of a request than helps."""
SHORT.maxstring = SHORT.maxother = 200
