"""Noticing that a client has gone."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from fastapi import Request

Result = TypeVar("Result")

AGAIN_S = 0.5
"""Seconds after which work that goes on is cancelled again."""


async def unless_disconnected(request: Request, work: Awaitable[Result]) -> Result:
    """The result of some work, which is cancelled when the client disconnects.

    Serve does the same, unless the client tells it not to by a header.

    Args:
        request: its body has been read, so that only the disconnection is still to be received.

    Raises:
        asyncio.CancelledError: when the client disconnected.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise asyncio.CancelledError("the client disconnected")
        return working.result()
    finally:
        await ended(working, gone)


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what goes on, and wait until it has ended."""
    for task in tasks:
        while not task.done():  # once is not enough: it may meet its answer, and lose that
            task.cancel()
            await asyncio.wait({task}, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
