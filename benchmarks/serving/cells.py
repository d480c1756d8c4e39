"""One contender under one load."""

from __future__ import annotations

from dataclasses import dataclass

from serving.contenders import PATHS, Server
from serving.load import GAVE_UP, OK, OVERLOADED, Load, message, offer
from serving.subject import Subject


@dataclass(frozen=True)
class Cell:
    """One contender under one load."""

    contender: str
    offered: float | None
    """Requests per second; None in a closed loop."""
    connections: int
    rps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    ok: int
    rejected: int
    gave_up: int
    """Not answered when the client stopped waiting."""
    errors: int
    """Other statuses, and broken connections."""
    wrong: int
    """Successful replies with other probabilities than the serial reference."""
    cpu_ms: float
    """CPU time of proxy, replicas and their actors per successful reply."""
    cluster_cpu_ms: float
    """CPU time of the rest of Ray per successful reply."""
    client_cpu_ms: float
    """CPU time of the load generator per request."""
    lag_ms: float
    """99th percentile of the time that a request waited in the client."""


def measure(server: Server, contender: str, subject: Subject, load: Load) -> Cell:
    """One contender under one load, when nothing is left of the last."""
    server.settle()
    messages = [message(PATHS[contender], image) for image in subject.images]
    before = server.cpu_seconds(contender)
    outcome = offer(load, server.port, messages)
    after = server.cpu_seconds(contender)
    ok = outcome.count(OK)
    counted = [outcome.count(status) for status in (OK, OVERLOADED, GAVE_UP)]
    return Cell(
        contender=contender,
        offered=load.rate,
        connections=load.connections,
        rps=outcome.rps,
        p50_ms=outcome.latency_ms(50),
        p95_ms=outcome.latency_ms(95),
        p99_ms=outcome.latency_ms(99),
        ok=ok,
        rejected=counted[1],
        gave_up=counted[2],
        errors=len(outcome.replies) - sum(counted),
        wrong=subject.wrong(outcome),
        cpu_ms=1e3 * (after.service - before.service) / max(ok, 1),
        cluster_cpu_ms=1e3 * (after.cluster - before.cluster) / max(ok, 1),
        client_cpu_ms=1e3 * outcome.client_cpu_s / max(len(outcome.replies), 1),
        lag_ms=outcome.lag_ms,
    )
