"""Receiving requests and sending replies within bounds, however slow or large a client makes them.

A request is received before it takes a place anywhere, so that clients that send slowly keep nobody
from being served.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import Message, Receive, Send

from ier_ray.serve.errors import RefusedError, too_large, too_slow


class ClientLeftError(Exception):
    """The client has disconnected, or takes a reply too slowly."""


@dataclass(frozen=True)
class TransferLimits:
    """Bounds of what one process receives and sends."""

    seconds: float
    """Longest time to receive a body, and to send a part of a reply."""
    body_bytes: int
    """Largest body."""
    bytes_at_once: int
    """Of all bodies that are being received."""


class Reception:
    """Receives the bodies of the requests to one process."""

    def __init__(self) -> None:
        self._held = 0

    async def body(self, receive: Receive, limits: TransferLimits) -> bytes:
        """The whole body of a request.

        Raises:
            RefusedError: with status 408 when it takes too long, 413 when it is too large, 503
                when the bodies that are being received are too large together.
            ClientLeftError: when the client disconnects.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(limits.seconds):
                while await self._extended(body, receive, limits):
                    pass
        except TimeoutError as error:
            raise too_slow(limits.seconds) from error
        finally:
            self._held -= len(body)
        return bytes(body)

    async def _extended(self, body: bytearray, receive: Receive, limits: TransferLimits) -> bool:
        """Add the next part to a body; whether there are more."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError("the client left while it sent its request")
        part = message.get("body", b"")
        body += part
        self._held += len(part)
        if len(body) > limits.body_bytes:
            raise too_large(limits.body_bytes)
        if self._held > limits.bytes_at_once:
            raise RefusedError.busy("others send their requests")
        return bool(message.get("more_body", False))


def replayed(body: bytes, receive: Receive) -> Receive:
    """Receive a body that has been received already, and then what comes after it."""
    given = False

    async def received() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return received


def within(send: Send, seconds: float) -> Send:
    """Send to a client that takes each part of a reply in time, or not at all.

    What is sent raises :class:`ClientLeftError` otherwise.
    """

    async def sent(message: Message) -> None:
        try:
            async with asyncio.timeout(seconds):
                await send(message)
        except TimeoutError as error:
            raise ClientLeftError(
                f"a part of a reply was not taken within {seconds:g} s"
            ) from error

    return sent
