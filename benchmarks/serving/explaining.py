"""Predictions and the health check while explanations keep the service busy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving.contenders import OURS, PATHS, Server, serve_applications
from serving.load import BROKEN, GAVE_UP, OK, OVERLOADED, Load, Outcome, message, offer
from serving.subject import Subject

EXPLAIN, HEALTH = "/v1/models/ier:explain", "/healthz"
EXPLAINING = 8
"""Connections that ask for explanations, each for the next when it has the last."""
PREDICTING = 16
"""Connections of the closed loop that finds the maximum of predictions."""
HEALTH_RATE = 5.0
PREDICT_SHARE = 0.1
"""Rate of predictions, as a share of the maximum of a closed loop."""
Offer = tuple[Load, Sequence[bytes]]


def under_explanations(
    subject: Subject, directory: Path, *, seconds: float
) -> dict[str, float | dict[str, int]]:
    """Latencies of the service with and without explanations."""
    predict = [message(PATHS[OURS], image) for image in subject.images]
    explain = [message(EXPLAIN, image) for image in subject.images]
    with serve_applications(subject.checkpoint, subject.threads, directory) as server:
        server.wait_until_ready(OURS, subject.images[0])
        saturating = Load(None, seconds / 3, connections=PREDICTING)
        offer(saturating, server.port, predict)  # warms up
        maximum = offer(saturating, server.port, predict).rps
        loads: dict[str, Offer] = {
            "predictions": (Load(PREDICT_SHARE * maximum, seconds), predict),
            "healthz": (Load(HEALTH_RATE, seconds), [message(HEALTH, method="GET")]),
        }
        idle = together(server, loads)
        flood = Load(None, seconds, connections=EXPLAINING)
        busy = together(server, {**loads, "explanations": (flood, explain)})
    return {
        "predict_rate": PREDICT_SHARE * maximum,
        "explain_rps": busy["explanations"].rps,
        "explain_p50_ms": busy["explanations"].latency_ms(50),
        "predict_idle_p95_ms": idle["predictions"].latency_ms(95),
        "predict_p95_ms": busy["predictions"].latency_ms(95),
        "healthz_idle_p95_ms": idle["healthz"].latency_ms(95),
        "healthz_p95_ms": busy["healthz"].latency_ms(95),
        "healthz_max_ms": busy["healthz"].latency_ms(100),
        "wrong": sum(subject.wrong(each["predictions"]) for each in (idle, busy)),
        **{f"{name}_replies": counts(outcome) for name, outcome in busy.items()},
    }


def together(server: Server, loads: Mapping[str, Offer]) -> dict[str, Outcome]:
    """Offer several loads at once, each from its own process."""
    server.settle()
    with ThreadPoolExecutor() as pool:
        running = {
            name: pool.submit(offer, load, server.port, messages)
            for name, (load, messages) in loads.items()
        }
        return {name: outcome.result() for name, outcome in running.items()}


def counts(outcome: Outcome) -> dict[str, int]:
    """Numbers of replies by what became of them."""
    names = {"ok": OK, "rejected": OVERLOADED, "gave_up": GAVE_UP, "broken": BROKEN}
    found = {name: outcome.count(status) for name, status in names.items()}
    return {**found, "other": len(outcome.replies) - sum(found.values())}
