"""A client of the service: synchronous, and for event loops."""

from ier_ray.client.async_client import AsyncClient
from ier_ray.client.client import Client
from ier_ray.client.errors import (
    BrokenReplyError,
    InterruptedReplyError,
    OverdueError,
    ProblemError,
    UnreachableError,
)

__all__ = [
    "AsyncClient",
    "BrokenReplyError",
    "Client",
    "InterruptedReplyError",
    "OverdueError",
    "ProblemError",
    "UnreachableError",
]
