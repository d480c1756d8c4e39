"""Stopping work that nobody waits for any longer."""

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
    return await unless(_disconnected(request), work)


async def unless(event: Awaitable[object], work: Awaitable[Result]) -> Result:
    """The result of some work, which is cancelled when an event comes before.

    Raises:
        asyncio.CancelledError: when it came.
    """
    working, coming = asyncio.ensure_future(work), asyncio.ensure_future(event)
    try:
        await asyncio.wait({working, coming}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise asyncio.CancelledError("nobody waits any longer")
        return working.result()
    finally:
        await ended(working, coming)


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
