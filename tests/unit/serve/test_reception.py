"""Slow and large requests at the gate: they end in time, and take no place before they are here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from ier_ray.serve.access import Access, Guard
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.front import Gate
from ier_ray.serve.instances import PredictInstances
from ier_ray.serve.reception import ClientLeftError, TransferLimits, within
from ier_ray.serve.schemas import AppArgs
from ier_ray.serve.tokens import create_token
from ier_ray.serve.uploads import read_uploads

PREDICT = "/v1/models/ier:predict"
LIMITS = TransferLimits(seconds=0.2, body_bytes=10, bytes_at_once=15)


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    Gate.most_predictions, Gate.transfer = 1, LIMITS
    yield
    Gate.most_predictions = Gate.transfer = Access.guard = None


class Echo:
    """An application that says which body it got."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.after: Message = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert not message["more_body"]
        self.bodies.append(message["body"])
        self.after = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


class Client:
    """Sends parts of a body; None stands for a pause without an end."""

    def __init__(self, *parts: bytes | None, path: str = PREDICT, token: str = "") -> None:
        self._parts, self._path = list(parts), path
        self._headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        self.sent: list[Message] = []
        self.asked = 0

    async def receive(self) -> Message:
        self.asked += 1
        if not self._parts:
            return {"type": "http.disconnect"}
        part = self._parts.pop(0)
        if part is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def status_from(self, gate: Gate) -> int:
        """Of the reply; 0 if there is none."""
        scope = {"type": "http", "path": self._path, "headers": self._headers, "method": "POST"}
        await gate(scope, self.receive, self.send)
        return int(self.sent[0]["status"]) if self.sent else 0

    @property
    def closes(self) -> bool:
        """Whether the reply ends the connection."""
        return (b"connection", b"close") in self.sent[0]["headers"]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_the_application_gets_the_whole_body_and_what_comes_after_it() -> None:
    async def test() -> None:
        app = Echo()
        assert await Client(b"one", b"", b"two").status_from(Gate(app)) == 200
        assert app.bodies == [b"onetwo"]
        assert app.after["type"] == "http.disconnect"

    run(test)


@pytest.mark.parametrize(
    ("parts", "status"),
    [((None,), 408), ((b"one", None), 408), ((b"more than", b"ten bytes"), 413)],
)
def test_what_comes_too_slowly_or_is_too_large_is_refused(
    parts: tuple[bytes | None, ...], status: int
) -> None:
    async def test() -> None:
        app = Echo()
        client = Client(*parts, b"never")
        assert await client.status_from(Gate(app)) == status
        assert client.closes
        assert app.bodies == []

    run(test)


def test_who_leaves_while_sending_gets_no_reply() -> None:
    class Leaving(Client):
        async def receive(self) -> Message:
            return {"type": "http.disconnect"}

    async def test() -> None:
        app = Echo()
        assert await Leaving().status_from(Gate(app)) == 0
        assert app.bodies == []

    run(test)


def test_slow_uploads_take_no_place_of_a_prediction() -> None:
    async def test() -> None:
        gate = Gate(Echo())
        slow = [asyncio.create_task(Client(b"a", None).status_from(gate)) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert await Client(b"image").status_from(gate) == 200
        assert await asyncio.gather(*slow) == [408] * 5

    run(test)


def test_bodies_of_all_together_are_bounded_and_make_room_when_they_end() -> None:
    async def test() -> None:
        gate = Gate(Echo())
        slow = asyncio.create_task(Client(b"10 bytes..", None).status_from(gate))
        await asyncio.sleep(0.05)
        assert await Client(b"5 ...").status_from(gate) == 200
        assert await Client(b"6 ....").status_from(gate) == 503
        assert await slow == 408
        assert await Client(b"6 ....").status_from(gate) == 200

    run(test)


def test_of_who_has_no_token_no_body_is_received(tmp_path: Path) -> None:
    file = str(tmp_path / "tokens.json")
    ann = create_token(file, "ann")
    Access.guard = Guard(file, "async+memory://")

    async def test() -> None:
        app = Echo()
        gate = Gate(app)
        for token, body in (("", b""), ("wrong", b""), (ann, b"image")):
            assert await Client(b"image", token=token).status_from(gate) == 200
            assert app.bodies[-1] == body

    run(test)


def test_who_takes_a_reply_too_slowly_makes_its_request_end() -> None:
    async def test() -> None:
        ended = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"large"})
            finally:
                ended.set()

        class Stuck(Client):
            async def send(self, message: Message) -> None:
                await super().send(message)
                if message["type"] == "http.response.body":
                    await asyncio.Event().wait()

        with pytest.raises(ClientLeftError, match=r"not taken within 0\.2 s"):
            await Stuck(b"image").status_from(Gate(app))
        assert ended.is_set()
        assert await Client(b"image").status_from(Gate(Echo())) == 200

    run(test)


def test_what_is_taken_in_time_is_sent() -> None:
    async def test() -> None:
        client = Client()
        await within(client.send, 0.2)({"type": "http.response.body"})
        assert client.sent == [{"type": "http.response.body"}]

    run(test)


def test_routes_themselves_wait_no_longer_for_a_body() -> None:
    """Where no gate is before the application."""

    async def test() -> None:
        scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": []}
        asked = Request(scope, Client(b"a", None).receive)
        args = AppArgs(checkpoint="nowhere", max_transfer_s=0.1)
        with pytest.raises(RefusedError) as refused:
            await read_uploads(asked, PredictInstances, args, most_images=2, several_files=True)
        assert (refused.value.status, refused.value.error) == (408, "timeout")

    run(test)
