"""The service beside slow clients: 200 idle connections, and readers of one byte per second.

The service is serve_config.yaml, started as `make serve` does. Idle connections have sent nothing,
half of their headers, or half of an image; those that the service ends are opened again. The
readers take explanations as streams and as heat maps. Predictions come by a Poisson process at a
tenth of the maximum, explanations one after the other on one connection; both are measured in
turns, with and without the crowd. Ratios are of the best round with and the best without it: other
programs on the machine can only slow it down. The exit code is 1 if a bar is missed, except with
--quick.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import nullcontext
from pathlib import Path

from serving.contenders import OURS, PATHS, serve_applications
from serving.crowd import crowded
from serving.explaining import EXPLAIN, PREDICT_SHARE, PREDICTING, Offer, together
from serving.load import BROKEN, GAVE_UP, OK, Load, message, offer
from serving.report import Bar
from serving.subject import PICTURES, Subject, picture

IDLE, SLOW = 200, 16
"""Connections of each kind."""
NEW_RATE = 40
"""Pictures per second that are ready to be explained; none comes twice, as it would be known."""
SIDE = 64
"""Of these pictures."""
SLOWER = 1.25
"""Most that a median may grow by the crowd."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, about 70 s")
    given = parser.parse_args()
    rounds, seconds = (1, 4.0) if given.quick else (3, 15.0)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        subject = Subject.of("demo", threads=1, directory=directory)
        record = measured(subject, directory, rounds=rounds, seconds=seconds)
    bars = [
        *(
            Bar(f"median of {kind} beside the crowd", record[f"{kind}_ratio"], SLOWER)
            for kind in ("predictions", "explanations")
        ),
        Bar("failed", record["failed"], 0),
        Bar("wrong replies", record["wrong"], 0),
    ]
    print(*bars, sep="\n")
    print(json.dumps(record))
    missed = [bar for bar in bars if not bar.held]
    if missed and not given.quick:
        raise SystemExit(f"{len(missed)} bars were missed")


def measured(subject: Subject, directory: Path, *, rounds: int, seconds: float) -> dict[str, float]:
    """Medians in ms with and without the crowd, and what failed."""
    predict = [message(PATHS[OURS], image) for image in subject.images]
    half = [b"", predict[0][:60], predict[0][: len(predict[0]) // 2], explanation(0)[:-9]]
    idle = [half[number % len(half)] for number in range(IDLE)]
    slow = [slow_request(subject, number) for number in range(SLOW)]
    best: dict[str, float] = {}
    failed = wrong = reopened = 0
    with serve_applications(subject.checkpoint, subject.threads, directory) as server:
        server.wait_until_ready(OURS, subject.images[0])
        saturating = Load(None, seconds / 3, connections=PREDICTING)
        offer(saturating, server.port, predict)  # warms up
        rate = PREDICT_SHARE * offer(saturating, server.port, predict).rps

        def loads(number: int) -> dict[str, Offer]:
            one, new = Load(None, seconds, connections=1), int(seconds * NEW_RATE)
            return {
                "predictions": (Load(rate, seconds), predict),
                "explanations": (one, [explanation(number * new + each) for each in range(new)]),
            }

        together(server, loads(2 * rounds))  # warms up
        for number in range(2 * rounds):
            kind = "crowd" if number % 2 else "alone"
            crowd = crowded(server.port, idle, slow) if number % 2 else nullcontext()
            with crowd as opened:
                found = together(server, loads(number))
                reopened += opened.reopened if opened is not None else 0
            for name, outcome in found.items():
                key, value = f"{name}_{kind}_p50_ms", outcome.latency_ms(50)
                best[key] = min(value, best.get(key, value))
                failed += outcome.count(GAVE_UP) + outcome.count(BROKEN)
                statuses = {reply.status for reply in outcome.replies}
                print(f"{kind} {name}: {value:.1f} ms, {outcome.count(OK)} served, {statuses}")
            wrong += subject.wrong(found["predictions"])
    ratios = {
        f"{name}_ratio": best[f"{name}_crowd_p50_ms"] / best[f"{name}_alone_p50_ms"]
        for name in ("predictions", "explanations")
    }
    return {**best, **ratios, "failed": failed, "wrong": wrong, "reopened": reopened}


def explanation(number: int) -> bytes:
    """A request to explain a picture."""
    return message(f"{EXPLAIN}?depth=4", picture(PICTURES + number, SIDE))


def slow_request(subject: Subject, number: int) -> bytes:
    """A request for a stream or a heat map."""
    accept = "text/event-stream" if number % 2 else "image/png"
    return message(f"{EXPLAIN}?depth=5", subject.images[number], headers={"Accept": accept})


if __name__ == "__main__":
    main()
