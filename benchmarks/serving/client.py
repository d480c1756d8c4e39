"""The process that sends requests: HTTP/1.1 over connections that stay open, on one event loop.

Started by :func:`serving.load.offer`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import pickle
import resource
import sys
from collections.abc import Sequence
from typing import cast

import httptools

from serving.load import (
    BROKEN,
    GAVE_UP,
    HOST,
    Load,
    Outcome,
    Reply,
    allow_many_connections,
    arrivals,
)


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    usable = True
    """Whether another request can be sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._reply: asyncio.Future[tuple[int, bytes]] | None = None

    async def send(self, message: bytes) -> tuple[int, bytes]:
        """Send a request; returns the status and the body of the reply.

        Raises:
            OSError: when the connection breaks.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return await self._reply

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.usable = self._parser.should_keep_alive()
        if self._reply and not self._reply.done():
            self._reply.set_result((self._parser.get_status_code(), b"".join(self._body)))

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if self._reply and not self._reply.done():
            self._reply.set_exception(ConnectionResetError("closed before the reply was complete"))


class Client:
    """Sends requests and keeps their replies."""

    def __init__(self, load: Load, port: int, messages: Sequence[bytes]) -> None:
        self._load, self._port, self._messages = load, port, messages
        self._slots = asyncio.Semaphore(load.connections)
        self._idle: list[Connection] = []
        self._started = asyncio.get_running_loop().time()
        self._numbers = itertools.count()
        self.replies: list[Reply] = []

    async def run(self) -> None:
        """Offer the load and wait for the replies."""
        send = self._closed() if self._load.rate is None else self._open(self._load.rate)
        tasks = await send
        if tasks:
            rest = self._load.seconds + self._load.patience - self._now()
            _, waiting = await asyncio.wait(tasks, timeout=max(0.0, rest))
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _open(self, rate: float) -> list[asyncio.Task[None]]:
        tasks = []
        for due in arrivals(rate, self._load.seconds, self._load.seed):
            await asyncio.sleep(max(0.0, due - self._now()))
            tasks.append(asyncio.create_task(self._request(float(due))))
        return tasks

    async def _closed(self) -> list[asyncio.Task[None]]:
        async def repeat() -> None:
            while self._now() < self._load.seconds:
                await self._request(self._now())

        return [asyncio.create_task(repeat()) for _ in range(self._load.connections)]

    async def _request(self, due: float) -> None:
        number = next(self._numbers)
        sent, status, body = math.nan, GAVE_UP, b""
        try:
            async with self._slots:
                connection = await self._connection()
                sent = self._now()
                message = self._messages[number % len(self._messages)]
                status, body = await connection.send(message)
                self._idle.append(connection)
        except OSError:
            status = BROKEN
        finally:  # also when the client gives up, which cancels the request
            self.replies.append(Reply(number, due, sent, self._now(), status, body))

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, HOST, self._port))[1]

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._started


async def offered(load: Load, port: int, messages: Sequence[bytes]) -> Outcome:
    """Offer a load from this process."""
    client, before = Client(load, port, messages), cpu_seconds()
    await client.run()
    return Outcome(tuple(client.replies), cpu_seconds() - before)


def cpu_seconds() -> float:
    """CPU time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    allow_many_connections()
    load, port, messages = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own process wrote it)
    sys.stdout.buffer.write(pickle.dumps(asyncio.run(offered(load, port, messages))))


if __name__ == "__main__":
    main()
