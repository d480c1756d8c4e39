"""Offering load to an HTTP server: a seeded Poisson process, or as much as the connections take.

The client runs in a process of its own, so that nothing in this one delays it. In the open loop a
request's latency counts from its scheduled arrival: a server that stalls is charged for the
requests that came meanwhile, also for those that wait for a connection.
"""

from __future__ import annotations

import math
import pickle
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OK, OVERLOADED = 200, 503
GAVE_UP, BROKEN = 0, 1
"""In place of a status: the client stopped waiting; the connection failed."""
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Load:
    """What one client process offers."""

    rate: float | None
    """Requests per second of the Poisson process; None for a closed loop, in which every connection
    sends its next request when it has the reply to the last."""
    seconds: float
    """Time in which requests arrive."""
    seed: int = 0
    connections: int = 1024
    """Largest number of requests under way; those that come beyond it wait in the client."""
    patience: float = 10.0
    """Seconds after the last arrival that the client waits for replies."""


@dataclass(frozen=True)
class Reply:
    """What became of one request. Times are seconds since the start."""

    number: int
    """Of the request, in the order of arrival: message ``number % len(messages)`` was sent."""
    due: float
    """Scheduled arrival; in a closed loop, when the connection was free."""
    sent: float
    """Not a number if the request was never sent."""
    done: float
    """When the reply was complete, or the client gave up."""
    status: int
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """All replies to a load."""

    replies: tuple[Reply, ...]
    client_cpu_s: float

    def count(self, status: int) -> int:
        """Number of replies with a status."""
        return sum(reply.status == status for reply in self.replies)

    @property
    def rps(self) -> float:
        """Successful replies per second, up to the last of them."""
        done = [reply.done for reply in self.replies if reply.status == OK]
        return len(done) / max(done) if done else 0.0

    def latency_ms(self, percent: float) -> float:
        """Percentile of the latency, in milliseconds; not a number if nothing was answered.

        Rejected requests do not count. Those that the client gave up count as long as it waited.
        """
        waited = [reply.done - reply.due for reply in self.replies if reply.status in (OK, GAVE_UP)]
        return 1e3 * percentile(waited, percent)

    @property
    def lag_ms(self) -> float:
        """99th percentile of the time from a request's arrival to its sending."""
        return 1e3 * percentile(
            [each.sent - each.due for each in self.replies if not math.isnan(each.sent)], 99
        )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` percent of the values do not exceed."""
    if not values:
        return math.nan
    return float(np.percentile(values, percent, method="inverted_cdf"))


def arrivals(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """Arrival times of a Poisson process in ``[0, seconds)``, ascending."""
    generator = np.random.default_rng(seed)
    # Given their number, the arrivals of a Poisson process are independent and uniform.
    return np.sort(generator.uniform(0, seconds, generator.poisson(rate * seconds)))


def message(
    path: str, body: bytes = b"", *, method: str = "POST", headers: Mapping[str, str] | None = None
) -> bytes:
    """An HTTP request as it is sent."""
    given = {"Host": HOST, "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def allow_many_connections() -> None:
    """Raise this process's limit of open files, each connection being one, as far as allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def offer(load: Load, port: int, messages: Sequence[bytes]) -> Outcome:
    """Put a server on this machine under load, from another process; returns when it is over.

    Raises:
        subprocess.CalledProcessError: when the client fails.
    """
    finished = subprocess.run(
        [sys.executable, "-m", "serving.client"],
        cwd=Path(__file__).parents[1],
        input=pickle.dumps((load, port, tuple(messages))),
        stdout=subprocess.PIPE,
        check=True,
    )
    outcome: Outcome = pickle.loads(finished.stdout)  # noqa: S301 (our own process wrote it)
    return outcome
