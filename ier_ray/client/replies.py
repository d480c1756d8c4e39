"""What a reply, or its absence, means; what both clients share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx
from pydantic import ValidationError

from ier_ray.client.attempts import retry_after_s
from ier_ray.client.calls import parsed
from ier_ray.client.errors import (
    BrokenReplyError,
    InterruptedReplyError,
    OverdueError,
    ProblemError,
    UnreachableError,
)
from ier_ray.client.events import EventReader
from ier_ray.client.records import Explanation, Problem
from ier_ray.errors import ServiceError, SettingsError

CONNECT_S = 10.0
"""Longest wait for a connection."""
WAITED = (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout)


def checked_url(url: str) -> httpx.URL:
    """The address of a service, whose path ends in a slash.

    Raises:
        SettingsError: when it is none, or has credentials or a query.
    """
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"server: {url!r} is no address: {error}") from error
    if found.userinfo:
        raise SettingsError("server: leave user and password out of the address, give a token")
    if found.scheme not in ("http", "https") or not found.host or found.query or found.fragment:
        raise SettingsError(f"server: {url!r} is no address such as https://HOST:PORT")
    return found.copy_with(path=f"{found.path.rstrip('/')}/")


def headers_of(token: str | None) -> dict[str, str]:
    """Headers of every request.

    Raises:
        SettingsError: when the token cannot be in a header; it does not repeat it.
    """
    if token is None:
        return {}
    if not token or not all("!" <= character <= "~" for character in token):
        raise SettingsError("token: must be one word of ASCII characters, as the service made it")
    return {"authorization": f"Bearer {token}"}


def no_reply(error: httpx.HTTPError) -> ServiceError:
    """Why a reply has not begun. The address is left to the caller's log."""
    if isinstance(error, WAITED):
        return OverdueError("the service has not replied in time: give a longer timeout")
    told = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
        return ServiceError(f"the request cannot be sent ({told})")
    return UnreachableError(f"the service cannot be reached ({told})")


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turns what happens after a reply began into this client's errors."""
    try:
        yield
    except WAITED as error:
        raise OverdueError(
            "the service has stopped in the middle of a reply: give a longer timeout"
        ) from error
    except httpx.HTTPError as error:
        told = f"the reply broke off ({type(error).__name__}: {error})"
        raise InterruptedReplyError(told) from error


def problem_of(response: httpx.Response, content: bytes) -> ProblemError:
    """The error of a reply: problem details, or the status of whatever is in front."""
    wait = retry_after_s(response.headers.get("retry-after"))
    try:
        problem = Problem.model_validate_json(content)
    except ValidationError:
        detail = f"{response.reason_phrase or 'no reason given'}; the body is no problem details"
        return ProblemError(response.status_code, "http_error", detail, wait)
    return ProblemError(response.status_code, problem.error, problem.detail, wait)


class Levels:
    """The explanations of a stream, from its bytes."""

    def __init__(self) -> None:
        self._events = EventReader()
        self.ended = False

    def of(self, content: bytes) -> Iterator[Explanation]:
        """Those that end with these bytes.

        Raises:
            ProblemError: when the service failed meanwhile.
            BrokenReplyError: when they are something else.
        """
        try:
            for event in self._events.feed(content):
                if event.name == "error":
                    problem = parsed(Problem, event.data)
                    raise ProblemError(problem.status, problem.error, problem.detail)
                if event.name in ("level", "explanation"):
                    self.ended = event.name == "explanation"
                    yield parsed(Explanation, event.data)
        except UnicodeDecodeError as error:
            raise BrokenReplyError("the stream is not in UTF-8") from error

    def check(self) -> None:
        """Raise if the stream ended before the whole explanation.

        Raises:
            BrokenReplyError: then.
        """
        if not self.ended:
            raise BrokenReplyError("the stream ended before the whole explanation")
