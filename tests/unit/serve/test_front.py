"""The gate before a replica."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ier_ray.serve.errors import PROBLEM, RefusedError
from ier_ray.serve.front import REQUEST_ID, Gate, middlewares

PREDICT = "/v1/models/ier:predict"


@pytest.fixture(autouse=True)
def two_predictions() -> Iterator[None]:
    Gate.most_predictions = 2
    yield
    Gate.most_predictions = None


class App:
    """Replies with the headers that it sees, once it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.seen: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            self.seen.append(scope["type"])
            return
        self.seen += [name.decode() for name, _ in scope["headers"]]
        if scope["path"].endswith("predict"):
            await self.may.wait()
        if "boom" in scope["query_string"].decode():
            raise RuntimeError("boom")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    (middleware,) = middlewares()
    gate = middleware.cls(app, *middleware.args, **middleware.kwargs)
    transport = httpx.ASGITransport(app=gate, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://replica")


class Echo:
    """Keeps the ids of the requests that it sees, and refuses them as Serve does."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.ids += [value for name, value in scope["headers"] if name == REQUEST_ID]
        reply = PlainTextResponse("busy", 503, {"X-Request-ID": self.ids[-1].decode()})
        await reply(scope, receive, send)


async def statuses(gate: httpx.AsyncClient, app: App, paths: list[str]) -> list[httpx.Response]:
    """Replies to requests that arrive in this order before the first prediction ends."""
    requests = [asyncio.ensure_future(gate.post(path, content=b"image")) for path in paths]
    for _ in range(50):
        await asyncio.sleep(0)
    app.may.set()
    return await asyncio.gather(*requests)


def test_predictions_beyond_the_limit_are_refused_at_once_and_only_those() -> None:
    async def run() -> None:
        app = App()
        gate = client_of(app)
        paths = [PREDICT, PREDICT, PREDICT, "/v1/models/ier:explain", "/healthz", PREDICT]
        replies = await statuses(gate, app, paths)
        assert [reply.status_code for reply in replies] == [200, 200, 503, 200, 200, 503]
        assert replies[2].headers["content-type"] == "application/problem+json"
        assert replies[2].json() == {
            "type": "urn:ier-ray:problem:busy",
            "title": "Busy",
            "status": 503,
            "detail": "2 predictions wait; try again in 1 s",
            "instance": PREDICT,
            "error": "busy",
        }
        assert replies[2].headers["retry-after"] == "1"
        assert (await gate.post(PREDICT)).status_code == 200  # there is room again

    asyncio.run(run())


def test_a_prediction_that_fails_or_is_cancelled_makes_room() -> None:
    async def run() -> None:
        app = App()
        app.may.set()
        gate = client_of(app)
        for _ in range(5):
            assert (await gate.post(f"{PREDICT}?boom")).status_code == 500
        app.may.clear()
        waiting = [asyncio.ensure_future(gate.post(PREDICT)) for _ in range(2)]
        for _ in range(50):
            await asyncio.sleep(0)
        assert (await gate.post(PREDICT)).status_code == 503
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        app.may.set()
        assert (await gate.post(PREDICT)).status_code == 200

    asyncio.run(run())


def test_serves_own_headers_do_not_pass() -> None:
    async def run() -> None:
        app = App()
        own = {"X-Request-Disconnect-Disabled": "?1", "x-request-timeout-seconds": "0"}
        await client_of(app).get("/healthz", headers={**own, "x-mine": "kept"})
        assert "x-mine" in app.seen
        assert not {name.lower() for name in own} & set(app.seen)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([b"mine"], True),
        ([b"7f1f790b-963c-465a-94e1-07823880ce86"], True),
        ([b"Root=1-67891233:abc/def+1=@._"], True),
        ([b"x" * 128], True),
        ([b"x" * 129], False),
        ([], False),
        ([b""], False),
        ([b"mine\n"], False),
        ([b"a\nINFO forged"], False),
        ([b"a b"], False),
        ([b"\x1b[31m"], False),
        ([b"\xc2\x85"], False),
        ([b"a%(levelname)s"], False),
        ([b"one", b"two"], False),
    ],
)
def test_a_request_has_one_id_the_clients_if_it_is_sane(given: list[bytes], kept: bool) -> None:
    app = Echo()

    async def run() -> list[bytes]:
        sent: list[bytes] = []

        async def send(message: Message) -> None:
            sent.extend(value for name, value in message.get("headers", ()) if name == REQUEST_ID)

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        headers = [(REQUEST_ID, value) for value in given]
        for path in (PREDICT, "/healthz"):
            scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
            await Gate(app)(scope, receive, send)
        Gate.most_predictions = 0  # refused at the gate
        await Gate(app)({**scope, "path": PREDICT}, receive, send)
        return sent

    sent = asyncio.run(run())
    assert sent[:2] == app.ids
    assert len(sent) == 3
    for found in sent:
        assert (found == given[0]) if kept else re.fullmatch(rb"[0-9a-f-]{36}", found)


@pytest.mark.parametrize(
    ("status", "headers", "error", "kept"),
    [
        (503, {"retry-after": "7"}, "busy", {"retry-after": "7"}),
        (503, {}, "busy", {"retry-after": "1"}),
        (408, {}, "timeout", {}),
        (500, {"x-request-id": "a"}, "internal", {"x-request-id": "a"}),
        (405, {"allow": "GET"}, "method_not_allowed", {"allow": "GET"}),
        (418, {}, "http_error", {}),
    ],
)
def test_an_error_in_other_words_becomes_a_problem(
    status: int, headers: dict[str, str], error: str, kept: dict[str, str]
) -> None:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        body = PlainTextResponse("Traceback: internals", status, headers)
        await body(scope, receive, send)

    reply = asyncio.run(client_of(serve).get("/v1/mödels"))
    found = reply.json()
    assert (reply.status_code, reply.headers["content-type"]) == (status, PROBLEM)
    assert (found["status"], found["error"]) == (status, error)
    assert found["instance"] == "/v1/m%C3%B6dels"
    assert "internals" not in reply.text
    assert kept.items() <= dict(reply.headers).items()


def test_problems_and_replies_pass_as_they_are() -> None:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        refused = RefusedError(415, "truncated", "half an image")
        reply = refused.reply("/here") if scope["path"] == "/error" else PlainTextResponse("fine")
        await reply(scope, receive, send)

    assert asyncio.run(client_of(serve).get("/error")).json()["detail"] == "half an image"
    assert asyncio.run(client_of(serve).get("/other")).text == "fine"


def test_without_a_limit_all_pass() -> None:
    async def run() -> None:
        Gate.most_predictions = None
        app = App()
        replies = await statuses(client_of(app), app, [PREDICT] * 100)
        assert {reply.status_code for reply in replies} == {200}

    asyncio.run(run())


def test_what_is_no_request_passes() -> None:
    async def run() -> None:
        app = App()

        async def nothing(*_: object) -> dict[str, object]:
            return {}

        await Gate(app)({"type": "lifespan"}, nothing, nothing)  # type: ignore[arg-type]
        assert app.seen == ["lifespan"]

    asyncio.run(run())
