"""Requests that are refused, and their replies."""

import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ier_ray.errors import ImageError

UNSUPPORTED, TOO_LARGE, UNPROCESSABLE, BUSY = 415, 413, 422, 503
NAMES = {404: "not_found", 405: "method_not_allowed"}


class ErrorReply(BaseModel):
    """Body of every 4xx and 5xx reply."""

    error: str
    detail: str


class RefusedError(Exception):
    """A request that is not served.

    Attributes:
        status: of the reply.
        error: a stable word to count by.
        detail: what was wrong, and what to do.
        retry_after_s: after how many seconds to try again, if that may help.
    """

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
        """A query parameter that cannot be used."""
        return cls(UNPROCESSABLE, "bad_parameter", detail)

    def reply(self) -> JSONResponse:
        """The response."""
        body = ErrorReply(error=self.error, detail=self.detail).model_dump()
        wait = self.retry_after_s
        headers = None if wait is None else {"retry-after": str(max(1, math.ceil(wait)))}
        return JSONResponse(body, self.status, headers)


def handle_errors(api: FastAPI) -> None:
    """Make every error of an interface a reply with the documented body."""

    @api.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return error.reply()

    @api.exception_handler(RequestValidationError)
    async def bad_parameter(_: Request, error: RequestValidationError) -> JSONResponse:
        return RefusedError.parameter("; ".join(map(complaint, error.errors()))).reply()

    @api.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        name = NAMES.get(error.status_code, "http_error")
        detail = f"{request.method} {request.url.path}: {error.detail}; /docs lists all routes"
        reply = RefusedError(error.status_code, name, detail).reply()
        reply.headers.update(error.headers or {})
        return reply

    @api.exception_handler(Exception)
    async def internal(_: Request, __: Exception) -> JSONResponse:
        return RefusedError(
            500, "internal", "the request failed; the service's log says why"
        ).reply()


def complaint(problem: Mapping[str, Any]) -> str:
    """One pydantic validation error as one line."""
    name = ".".join(str(part) for part in problem["loc"] if part != "query")
    if not name:  # concerns several parameters: the message names the values
        return str(problem["msg"])
    return f"{name}: {problem['msg']}, got {problem.get('input')!r}"
