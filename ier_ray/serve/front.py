"""What stands before a replica: HAProxy, and a gate that refuses before anything else is done.

Serve's own proxy is an actor in Python, which costs a prediction more than the network does. With
HAProxy the client's connection ends in the replica's HTTP server. docs/serving.md has figures.
"""

import re
import uuid
from collections.abc import Iterable
from typing import ClassVar

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ier_ray.serve.access import may_send
from ier_ray.serve.errors import (
    INTERNAL,
    PROBLEM,
    TOO_LARGE,
    TOO_SLOW,
    WORDS,
    RefusedError,
)
from ier_ray.serve.reception import (
    ClientLeftError,
    Reception,
    TransferLimits,
    replayed,
    within,
)

ENVIRONMENT = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{__name__}:middlewares",
    # HAProxy's own exporter counts requests; Serve would do so by a log line of each, in Python.
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    # Requests are coroutines that hand their work to threads: no second event loop is needed.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    # Serve tells HAProxy when a replica goes; only balancers outside the cluster would need longer.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
}
"""Environment of a serving cluster's nodes when Ray starts; cluster.yaml and deploy have it."""
REQUEST_ID = b"x-request-id"
"""Header with the id of a request, which Serve writes into its log and into the reply."""
SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
"""Ids of clients that are taken over; others could forge lines of the log."""
SERVES_OWN = frozenset({b"x-request-disconnect-disabled", b"x-request-timeout-seconds", REQUEST_ID})
"""Headers by which a client could turn Serve's handling of disconnections and time limits off; and
the id, which comes back when it is sane."""
PREDICT = ":predict"
KEPT = frozenset({b"retry-after", b"allow", REQUEST_ID})
"""Headers of Serve's own errors that the problem has, too."""
DETAILS = {
    408: "the request took longer than the service allows",
    500: INTERNAL,
    503: "the service takes no more requests now; try again later",
}
"""What is told of Serve's own errors, whose texts name internals."""


class Gate:
    """ASGI middleware: no client has Serve's own headers, no more predictions come in than may,
    requests and replies are transferred in time, and errors of Serve are problem details as all
    others are.

    A refusal here costs a tenth of one that has passed through Serve and FastAPI: under twice the
    load that a replica can bear, that decides how much of it is served. A request takes none of
    Serve's places before it has been received, and Serve, which would keep a body of any size, gets
    none that is too large.
    """

    most_predictions: ClassVar[int | None] = None
    """Predictions in this process at the same time; None without limit. Set by the replica."""
    transfer: ClassVar[TransferLimits | None] = None
    """Bounds of requests and replies; None without limit. Set by the replica."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._predictions = 0
        self._reception = Reception()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope["headers"])
        kept = [pair for pair in scope["headers"] if pair[0] not in SERVES_OWN]
        scope = {**scope, "headers": [*kept, (REQUEST_ID, request_id)]}
        send = problems_only(send, scope["path"])
        predicts = scope["path"].endswith(PREDICT)
        try:
            if predicts:
                self._require_room()
            if self.transfer is not None:
                send = within(send, self.transfer.seconds)
                body = b""  # the application refuses those whose body is not received
                if may_send(scope):
                    body = await self._reception.body(receive, self.transfer)
                receive = replayed(body, receive)
            if predicts:
                self._require_room()  # others may have been quicker
        except RefusedError as refused:
            reply = refused.reply(scope["path"])
            reply.raw_headers.append((REQUEST_ID, request_id))
            if refused.status in (TOO_SLOW, TOO_LARGE):
                reply.headers["connection"] = "close"  # much of its body may still come
            await reply(scope, receive, send)
            return
        except ClientLeftError:
            return
        self._predictions += predicts
        try:
            await self._app(scope, receive, send)
        finally:
            self._predictions -= predicts

    def _require_room(self) -> None:
        """Refuse a prediction where there are as many as may be."""
        if self.most_predictions is not None and self._predictions >= self.most_predictions:
            raise RefusedError.busy(f"{self._predictions} predictions wait")


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The id that a client gave its request, if it gave a sane one; else a new one."""
    given = [value for name, value in headers if name == REQUEST_ID]
    if len(given) == 1 and SANE_ID.fullmatch(given[0]):
        return given[0]
    return str(uuid.uuid4()).encode()


def problems_only(send: Send, path: str) -> Send:
    """Send a reply on; an error whose body is no problem is replaced by one."""
    replaced = False

    async def sent(message: Message) -> None:
        nonlocal replaced
        if replaced:
            return
        if message["type"] == "http.response.start" and message["status"] >= 400:
            headers = dict(message.get("headers", []))
            if headers.get(b"content-type") != PROBLEM.encode():
                replaced = True
                await replace(message["status"], headers)
                return
        await send(message)

    async def replace(status: int, headers: dict[bytes, bytes]) -> None:
        detail = DETAILS.get(status, "the request cannot be served; /docs lists all routes")
        wait_s = 1.0 if status == 503 else None
        reply = RefusedError(status, WORDS.get(status, "http_error"), detail, wait_s).reply(path)
        own = {name.lower(): value for name, value in headers.items() if name.lower() in KEPT}
        raw = [*(dict(reply.raw_headers) | own).items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": reply.body})

    return sent


def middlewares() -> list[Middleware]:
    """What Serve wraps its HTTP servers in, by ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``."""
    return [Middleware(Gate)]
