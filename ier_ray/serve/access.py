"""Who may use the service, how much, and from which pages: middleware of the HTTP interface.

It runs inside the application, not before it, so that it holds whichever proxy is in front.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import ClassVar

import limits
from limits.aio.strategies import (
    MovingWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)
from limits.storage import storage_from_string
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ier_ray.errors import IerRayError, SettingsError
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.tokens import Token, hashed, read_tokens

logger = logging.getLogger(__name__)

UNAUTHORIZED = 401
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN_PATHS = frozenset({"/healthz", "/", "/docs", "/openapi.json"})
"""What needs no token: the health that load balancers ask for, the page and the description."""
OPEN_BELOW = "/page/"
"""Where the files of the page are."""
REREAD_S = 10.0
"""Seconds after which a changed file of tokens is noticed."""
MOST_PAID = 4096
"""Of what is paid for once, the latest that are remembered."""
CLIENT: ContextVar[Token | None] = ContextVar("client", default=None)
"""The client whose request is served."""
MILLISECONDS = 1000
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""Of every reply that does not say otherwise."""


def require_tokens(host: str, tokens: str | None) -> None:
    """Refuse to serve without tokens where other machines can reach the service.

    Headers such as X-Forwarded-For say what a client wants them to say, so no request is trusted
    for where it seems to come from.

    Raises:
        SettingsError: when the address that the service listens on is not this machine's own.
    """
    if tokens is None and host not in LOOPBACK:
        raise SettingsError(
            f"the service listens on {host}, where others can reach it, and has no tokens: make "
            f"some with 'python -m ier_ray.serve.tokens create FILE NAME' and set args.tokens to "
            f"FILE, or listen on 127.0.0.1 (http_options.host)"
        )


def needs_no_token(path: str) -> bool:
    """Whether everybody may have what is at a path."""
    return path in OPEN_PATHS or path.startswith(OPEN_BELOW)


class Guard:
    """Checks tokens and counts requests.

    Args:
        location: file of tokens, which is read again when it is older than :data:`REREAD_S`.
        counters: where requests are counted, as the ``limits`` library names it: this process's
            memory, or a Redis that all ingress replicas share.

    Raises:
        DataError, StorageError: when the file cannot be read.
        SettingsError: when the counters' location cannot be used.
    """

    def __init__(self, location: str, counters: str) -> None:
        self._location = location
        self._tokens = read_tokens(location)
        self._read_at = time.monotonic()
        self._reading: asyncio.Task[None] | None = None
        self._paid: deque[tuple[str, str]] = deque(maxlen=MOST_PAID)
        try:
            found = storage_from_string(counters, wrap_exceptions=True)
            self._requests = MovingWindowRateLimiter(found)
            self._compute = SlidingWindowCounterRateLimiter(found)
        except (limits.errors.ConfigurationError, limits.errors.StorageError, ValueError) as error:
            raise SettingsError(
                f"args.counters: {counters!r} cannot be used ({error}); give async+memory:// or "
                f"async+redis://HOST:PORT"
            ) from error

    async def admit(self, authorization: str) -> Token:
        """The client whose token an ``Authorization`` header has.

        Raises:
            RefusedError: with status 401 for a token that is missing or unknown, 429 beyond its
                limit, 503 while requests cannot be counted.
        """
        token = self.identify(authorization)
        if token.requests is not None:
            limit = limits.parse(token.requests)
            await self._count(self._requests, limit, token, f"{token.requests} requests", 1)
        return token

    def identify(self, authorization: str) -> Token:
        """The same, without counting the request.

        Raises:
            RefusedError: with status 401 for a token that is missing or unknown.
        """
        self._reread_when_old()
        scheme, _, secret = authorization.partition(" ")
        token = self._known(secret.strip() if scheme.lower() == "bearer" else "")
        if token is None:
            raise RefusedError(
                UNAUTHORIZED,
                "unauthorized",
                "send a token of this service in the header 'Authorization: Bearer TOKEN'",
            )
        return token

    async def charge(self, token: Token, seconds: float, *, once: str | None = None) -> None:
        """Count predicted seconds of an explanation.

        Args:
            once: names what is paid for: a second time it costs nothing.

        Raises:
            RefusedError: as :meth:`admit`.
        """
        if token.compute is None or (token.name, once) in self._paid:
            return
        asked = limits.parse(token.compute)
        limit = type(asked)(asked.amount * MILLISECONDS, asked.multiples)
        cost = max(1, round(seconds * MILLISECONDS))
        what = f"explanations of {token.compute} predicted seconds, this one takes {seconds:.1f}"
        if cost > limit.amount:
            raise RefusedError.parameter(f"{token.name} may have {what}: lower depth")
        await self._count(self._compute, limit, token, what, cost)
        if once is not None:
            self._paid.append((token.name, once))

    def _known(self, secret: str) -> Token | None:
        """The token of a secret; as long for every secret, known or not."""
        digest, found = hashed(secret), None
        for token in self._tokens:  # no early end: it would tell how far the search went
            if hmac.compare_digest(digest, token.sha256):
                found = token
        return found

    async def _count(
        self,
        limiter: RateLimiter,
        limit: limits.RateLimitItem,
        token: Token,
        what: str,
        cost: int,
    ) -> None:
        try:
            if await limiter.hit(limit, token.name, cost=cost):
                return
            window = await limiter.get_window_stats(limit, token.name)
        except limits.errors.StorageError as error:
            logger.warning("requests cannot be counted: %s", error)
            raise RefusedError.busy("requests cannot be counted") from error
        wait = max(1.0, window.reset_time - time.time())
        raise RefusedError(429, "rate_limited", f"{token.name} may have {what}", wait)

    def _reread_when_old(self) -> None:
        idle = self._reading is None or self._reading.done()
        if idle and time.monotonic() - self._read_at > REREAD_S:
            self._reading = asyncio.create_task(self._reread())

    async def _reread(self) -> None:
        try:
            self._tokens = await asyncio.to_thread(read_tokens, self._location)
        except IerRayError as error:
            logger.warning("tokens as they were before are used: %s", error)
        self._read_at = time.monotonic()


class Access:
    """ASGI middleware: tokens, limits, pages of other origins, and headers of every reply."""

    guard: ClassVar[Guard | None] = None
    """Set by the replica; None: everybody may use the service."""
    origins: ClassVar[Sequence[str]] = ()
    """Origins whose pages may use the service (CORS); set by the replica."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._with_origins if self.origins else self._guarded
        await app(scope, receive, with_headers)

    @cached_property
    def _with_origins(self) -> ASGIApp:
        """The guarded application for pages of other origins, which are known when it serves."""
        return CORSMiddleware(
            self._guarded,
            allow_origins=self.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", "accept", "idempotency-key"],
            expose_headers=["retry-after", "location", "x-request-id"],
        )

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.guard is None or needs_no_token(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            token = await self.guard.admit(authorization_of(scope))
        except RefusedError as refused:
            reply = refused.reply(scope["path"])
            if refused.status == UNAUTHORIZED:
                reply.headers["www-authenticate"] = 'Bearer realm="ier_ray"'
            await reply(scope, receive, send)
            return
        before = CLIENT.set(token)
        try:
            await self._app(scope, receive, send)
        finally:
            CLIENT.reset(before)


def client_name() -> str:
    """The client whose request is served; empty where everybody may use the service."""
    token = CLIENT.get()
    return "" if token is None else token.name


def may_send(scope: Scope) -> bool:
    """Whether a request will not be refused for its token, so that its body is worth receiving."""
    if Access.guard is None:
        return True
    if needs_no_token(scope["path"]):
        return False  # nothing there takes a body, and anybody could send one
    try:
        Access.guard.identify(authorization_of(scope))
    except RefusedError:
        return False
    return True


def authorization_of(scope: Scope) -> str:
    """The ``Authorization`` header of a request; nothing if there are several, which may differ."""
    found = Headers(scope=scope).getlist("authorization")
    return found[0] if len(found) == 1 else ""


async def charge(seconds: float, *, once: str | None = None) -> None:
    """Count predicted seconds of an explanation for the client whose request is served.

    Args:
        once: as of :meth:`Guard.charge`.

    Raises:
        RefusedError: as :meth:`Guard.charge`.
    """
    token = CLIENT.get()
    if Access.guard is not None and token is not None:
        await Access.guard.charge(token, seconds, once=once)
