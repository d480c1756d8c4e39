"""Both clients against a real server that fails: retries, broken streams, slow replies, tokens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from support.scripted_server import Scripted, hang_up, reply, scripted

from ier_ray.client import (
    AsyncClient,
    BrokenReplyError,
    Client,
    OverdueError,
    ProblemError,
    UnreachableError,
    attempts,
)
from ier_ray.client.records import ModelInfo
from ier_ray.errors import ServiceError, SettingsError

INFO: dict[str, Any] = {
    "name": "ier",
    "ready": True,
    "architecture": "vgg16",
    "image_size": 32,
    "normalization": "imagenet",
    "scheme": "mine",
    "classes": ["happy", "sad"],
    "epoch": 3,
    "metrics": {"accuracy": 0.5},
    "weights_sha256": "0" * 64,
}
GOOD = reply(200, json.dumps(INFO).encode())
SECRET = "ier_secret-token"  # noqa: S105 (of a test)


def problem(status: int, word: str, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    body = {
        "type": f"urn:ier-ray:problem:{word}",
        "title": word,
        "status": status,
        "detail": f"why {word}",
        "instance": "/v1/models/ier",
        "error": word,
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return reply(status, json.dumps(body).encode(), named)


BUSY = problem(503, "busy", retry_after="0")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_WAIT_S", 0.01)


def info(kind: str, server: Scripted, **options: Any) -> ModelInfo:
    """The same request by either client."""
    if kind == "sync":
        with Client(server.url, **options) as client:
            return client.info()

    async def asked() -> ModelInfo:
        async with AsyncClient(server.url, **options) as client:
            return await client.info()

    return asyncio.run(asked())


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
def test_what_may_pass_is_tried_again(kind: str) -> None:
    limited = problem(429, "rate_limited", retry_after="0")
    with scripted(BUSY, limited, hang_up, reply(503, b"<html>"), GOOD) as server:
        found = info(kind, server)
    assert found == ModelInfo.model_validate(INFO)
    assert len(server.seen) == 5


@both
def test_retries_end(kind: str) -> None:
    with scripted(BUSY) as server, pytest.raises(ProblemError) as caught:
        info(kind, server, retries=2)
    assert len(server.seen) == 3
    error = caught.value
    assert (error.status, error.error, error.retry_after_s) == (503, "busy", 0)
    assert str(error) == "the service replied 503 (busy): why busy"


@both
@pytest.mark.parametrize("status", [400, 401, 404, 413, 415, 422, 500, 504])
def test_what_lasts_is_not_tried_again(kind: str, status: int) -> None:
    with scripted(problem(status, "word", retry_after="0"), GOOD) as server:
        with pytest.raises(ProblemError, match=f"{status} \\(word\\): why word"):
            info(kind, server)
        assert len(server.seen) == 1


@both
def test_a_wait_beyond_the_deadline_is_not_begun(kind: str) -> None:
    with scripted(problem(429, "rate_limited", retry_after="3600"), GOOD) as server:
        with pytest.raises(ProblemError) as caught:
            info(kind, server, timeout=5)
        assert (len(server.seen), caught.value.retry_after_s) == (1, 3600)


@both
def test_errors_of_what_is_in_front_have_no_body_to_repeat(kind: str) -> None:
    with scripted(reply(502, b"<html>internal name</html>")) as server:
        with pytest.raises(ProblemError, match="502 \\(http_error\\): Bad Gateway") as caught:
            info(kind, server)
        assert "internal" not in str(caught.value)


@both
def test_a_token_is_not_sent_on_to_where_a_redirection_points(kind: str) -> None:
    with scripted(GOOD) as other:
        moved = reply(307, b"", {"location": other.url})
        with scripted(moved) as server, pytest.raises(ProblemError, match="307"):
            info(kind, server, token=SECRET)
        assert other.seen == []


@both
def test_nobody_listens(kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = Scripted(f"http://127.0.0.1:{taken.getsockname()[1]}", [])
        with pytest.raises(UnreachableError, match="cannot be reached \\(ConnectError"):
            info(kind, server, retries=1)


@both
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", json.dumps(INFO | {"epoch": "first"}).encode()]
)
def test_a_reply_of_another_program(kind: str, body: bytes) -> None:
    with scripted(reply(200, body)) as server:
        with pytest.raises(BrokenReplyError, match="the reply is not a ModelInfo"):
            info(kind, server)
        assert len(server.seen) == 1


@both
def test_a_reply_that_breaks_off_is_not_tried_again(kind: str) -> None:
    with scripted(reply(200, b"{", {"content-length": "50", "connection": "close"})) as server:
        with pytest.raises(BrokenReplyError, match="broke off"):
            info(kind, server)
        assert len(server.seen) == 1


@contextlib.contextmanager
def held() -> Iterator[threading.Event]:
    """An event that is set at the end, so that no reply outlives its test."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


@both
def test_a_reply_that_does_not_begin_is_overdue(kind: str) -> None:
    def silent(_: BaseHTTPRequestHandler) -> None:
        ended.wait(30)

    with held() as ended, scripted(silent) as server:
        with pytest.raises(OverdueError, match="in time"):
            info(kind, server, timeout=0.3)
        ended.set()
        assert len(server.seen) == 1


@both
def test_a_reply_that_trickles_is_overdue(kind: str) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "10000")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not ended.wait(0.05):
                handler.wfile.write(b" ")

    with held() as ended, scripted(trickle) as server:
        with pytest.raises(OverdueError, match=r"within 0\.4 s"):
            info(kind, server, timeout=0.4)
        ended.set()


EXPLANATION: dict[str, Any] = {
    "target": "sad",
    "prediction": {"label": "sad", "probability": 0.75, "probabilities": {"happy": 0.25}},
    "image_size": 32,
    "full": 0.75,
    "empty": 0.25,
    "efficiency_gap": 0.0,
    "evaluations": 2,
    "inference": "dense",
    "settings": {"depth": 0},
    "leaves": [{"top": 0, "bottom": 32, "left": 0, "right": 32, "value": 0.5}],
    "network": "ier",
    "complete": True,
    "weights_sha256": "0" * 64,
    "levels": [],
    "cost": {"rows": 2, "macs": 1.0, "seconds": 0.1},
}


def event(name: str, content: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n".encode()


LEVEL, WHOLE = event("level", EXPLANATION), event("explanation", EXPLANATION)
FAILED = {
    "type": "urn:ier-ray:problem:failed",
    "title": "Failed",
    "status": 503,
    "detail": "an explainer was lost",
    "instance": "/v1/models/ier:explain",
    "error": "failed",
}


def levels(kind: str, server: Scripted, taken: list[str], **options: Any) -> None:
    """Take the levels of a stream."""
    if kind == "sync":
        with Client(server.url, **options) as client:
            for each in client.levels(b"image", depth=3):
                taken.append(each.target)  # noqa: PERF401 (those before the error count)
        return

    async def asked() -> None:
        async with AsyncClient(server.url, **options) as client:
            async for each in client.levels(b"image", depth=3):
                taken.append(each.target)  # noqa: PERF401 (those before the error count)

    asyncio.run(asked())


@both
@pytest.mark.parametrize(
    ("body", "count", "error", "told"),
    [
        (LEVEL * 2, 2, BrokenReplyError, "ended before the whole explanation"),
        (b"", 0, BrokenReplyError, "ended before the whole explanation"),
        (LEVEL + event("error", FAILED), 1, ProblemError, "503 (failed): an explainer was lost"),
        (LEVEL + b"event: level\ndata: {}\n\n", 1, BrokenReplyError, "not a Explanation"),
        (LEVEL + b"data: \xff\n\n", 1, BrokenReplyError, "UTF-8"),
    ],
)
def test_a_broken_stream_is_not_tried_again(
    kind: str, body: bytes, count: int, error: type[ServiceError], told: str
) -> None:
    taken: list[str] = []
    with scripted(reply(200, body), reply(200, WHOLE)) as server:
        with pytest.raises(error) as caught:
            levels(kind, server, taken)
        assert told in str(caught.value)
        assert len(server.seen) == 1
    assert taken == ["sad"] * count


@both
def test_a_stream_is_tried_again_before_it_begins(kind: str) -> None:
    taken: list[str] = []
    later = event("from_a_newer_service", {})
    with scripted(BUSY, hang_up, reply(200, LEVEL + later + WHOLE)) as server:
        levels(kind, server, taken)
    assert taken == ["sad", "sad"]
    assert [line for line, _ in server.seen] == ["POST /v1/models/ier:explain?depth=3"] * 3
    assert server.seen[0][1]["accept"] == "text/event-stream"


def stream_until_closed(gone: threading.Event) -> Callable[[BaseHTTPRequestHandler], None]:
    """Sends a level, then comments until the client disconnects."""

    def written(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("connection", "close")
        handler.end_headers()
        try:
            handler.wfile.write(LEVEL)
            while not gone.wait(0.01):
                handler.wfile.write(b": still here\n")
        except OSError:
            gone.set()

    return written


@both
def test_closing_the_levels_disconnects(kind: str) -> None:
    gone = threading.Event()
    with scripted(stream_until_closed(gone)) as server:
        if kind == "sync":
            with Client(server.url) as client:
                found = client.levels(b"image")
                assert next(found).target == "sad"
                found.close()
                assert gone.wait(20)
        else:

            async def asked() -> None:
                async with AsyncClient(server.url) as client:
                    found = client.levels(b"image")
                    assert (await anext(found)).target == "sad"
                    await found.aclose()
                    assert await asyncio.to_thread(gone.wait, 20)

            asyncio.run(asked())


@both
def test_a_stream_that_falls_silent_is_overdue(kind: str) -> None:
    def silent(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("connection", "close")
        handler.end_headers()
        handler.wfile.write(LEVEL)
        ended.wait(30)

    taken: list[str] = []
    with held() as ended, scripted(silent) as server:
        with pytest.raises(OverdueError, match="in the middle of a reply"):
            levels(kind, server, taken, timeout=0.3)
        ended.set()


@both
def test_a_token_goes_to_the_service_and_nowhere_else(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted(problem(401, "unauthorized")) as server:
        with pytest.raises(ProblemError) as caught:
            info(kind, server, token=SECRET)
        assert server.seen[0][1]["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in caplog.text + repr(caught.value) + str(caught.value)


@pytest.mark.parametrize("token", ["", "two words", "line\n", "é"])
def test_a_token_that_no_header_can_have(token: str) -> None:
    with pytest.raises(SettingsError, match="token: must be one word") as caught:
        Client("http://host", token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("host:8000", "is no address such as"),
        ("ftp://host", "is no address such as"),
        ("http://", "is no address such as"),
        ("http://host/?a=1", "is no address such as"),
        ("http://host:many", "is no address"),
        ("http://ann:secret@host", "leave user and password out"),
    ],
)
def test_an_address_that_cannot_be_used(url: str, told: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(SettingsError, match=told) as caught:
            kind(url)
        assert "secret" not in str(caught.value)


def test_a_service_below_a_prefix_is_found() -> None:
    with scripted(GOOD) as server:
        for url in (f"{server.url}/prefix", f"{server.url}/prefix/"):
            with Client(url) as client:
                client.info()
    assert [line for line, _ in server.seen] == ["GET /prefix/v1/models/ier"] * 2
