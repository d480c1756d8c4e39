"""The requests of jobs, and when a job is asked for again: what both clients share."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from ier_ray.client.attempts import may_pass
from ier_ray.client.calls import JSON, NPZ, PNG, Call, instances, json_of, npz, png
from ier_ray.client.errors import InterruptedReplyError, OverdueError, ProblemError
from ier_ray.client.records import Arrays, Explanation, Job, JobList, Network
from ier_ray.errors import ServiceError

ResultT = TypeVar("ResultT")

JOBS = "v1/explanations"
KEY = "idempotency-key"
PATIENCE_S = 600.0
"""Seconds without any news of a job after which watching it ends."""
SHORTEST_S, LONGEST_S = 0.25, 10.0
"""Between two questions for a job."""
IN_FRONT = frozenset({502, 504})
"""Replies of a proxy whose service is being started."""


def submit(
    images: Sequence[bytes], network: Network, key: str | None, parameters: Mapping[str, Any]
) -> Call[Job]:
    """A new job; the same one however often the request is sent."""
    return Call(
        JOBS,
        json_of(Job),
        query={"network": network},
        content=instances(images, parameters),
        media_type=JSON,
        headers={KEY: uuid.uuid4().hex if key is None else key},
    )


def job(identity: str) -> Call[Job]:
    """How far a job is."""
    return Call(_path(identity), json_of(Job))


def jobs(limit: int) -> Call[tuple[Job, ...]]:
    """The newest jobs."""

    def read(content: bytes, headers: httpx.Headers) -> tuple[Job, ...]:
        return json_of(JobList)(content, headers).jobs

    return Call(JOBS, read, query={"limit": limit})


def cancel(identity: str) -> Call[Job]:
    """The end of a job."""
    return Call(f"{_path(identity)}:cancel", json_of(Job), method="POST")


def delete(identity: str) -> Call[None]:
    """The end of a job, and of what is kept of it."""
    return Call(_path(identity), lambda *_: None, method="DELETE")


def explanation(identity: str, place: int) -> Call[Explanation]:
    """What is finished of an explanation."""
    return _result(identity, place, JSON, json_of(Explanation))


def heat_map(identity: str, place: int) -> Call[bytes]:
    """The same as the bytes of a PNG file."""
    return _result(identity, place, PNG, png)


def arrays(identity: str, place: int) -> Call[Arrays]:
    """The same as the bytes of an npz file."""
    return _result(identity, place, NPZ, npz)


def _result(
    identity: str,
    place: int,
    accept: str,
    read: Callable[[bytes, httpx.Headers], ResultT],
) -> Call[ResultT]:
    return Call(f"{_path(identity)}/{place}", read, accept=accept)


def _path(identity: str) -> str:
    return f"{JOBS}/{quote(identity, safe='')}"


class Watch:
    """When a job is asked for again.

    More seldom while nothing changes; and on, while the service is started again.

    Args:
        patience_s: seconds without a reply after which a failure is raised.
        clock: seconds.
    """

    def __init__(self, patience_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s, self._clock = patience_s, clock
        self._heard = clock()
        self._last: Job | None = None
        self.pause_s = SHORTEST_S
        """Seconds until the next question."""

    def is_news(self, found: Job) -> bool:
        """Whether a job has changed since the last question."""
        self._heard = self._clock()
        new = found != self._last
        self.pause_s = max(SHORTEST_S, self.pause_s / 2) if new else self._longer()
        self._last = found
        return new

    def failed(self, failure: ServiceError) -> None:
        """Take note of a question without a reply.

        Raises:
            ServiceError: the failure itself, when it lasts or has lasted too long.
        """
        passing = may_pass(failure) or isinstance(failure, (InterruptedReplyError, OverdueError))
        if isinstance(failure, ProblemError):
            passing = passing or failure.status in IN_FRONT
        if not passing or self._clock() - self._heard >= self._patience_s:
            raise failure
        self.pause_s = self._longer()

    def _longer(self) -> float:
        return min(LONGEST_S, self.pause_s * 1.5)
