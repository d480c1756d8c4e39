"""The service under load, beside a one-hop Serve application and a server without Ray.

A closed loop finds each contender's maximum; a seeded Poisson process then offers shares of it, up
to twice as much. Latency counts from the scheduled arrival. Ours is serve_config.yaml, started as
`make serve` does. The one-hop application has FastAPI and the network in one replica, behind the
same HAProxy; the bare server is uvicorn, FastAPI and torch in one process. Both make a batch of
what waits when the network is free, and refuse what is too much as ours does.
Networks have random weights: the demo's at 64 pixels and, without --quick, the paper's at 224.
Every reply is compared with the same picture predicted alone.

Contenders take turns on all cores of this machine, which the load generator shares. Ours and the
one-hop application run in one cluster and share its proxy, one under load and the other idle; the
cluster is down while the bare server runs, so that Ray's processes take nothing from it. The best
round of each counts: other programs on the machine can only slow it down. ``cpu_ms`` is the CPU
time of proxy, replicas and their actors per reply at the maximum; ``cluster_cpu_ms`` is that of the
rest of Ray: raylet, GCS, dashboard and Serve's controller.

With --explain, predictions and the health check are measured while explanations keep the service
busy instead. The exit code is 1 if a bar is missed, except with --quick.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from serving.explaining import under_explanations
from serving.report import HEADER, Bar, Record, explain_bars, figures, load_bars, row
from serving.rounds import BUSY, IDLE, TWICE, Plan, rounds
from serving.subject import Subject

CORES = len(os.sched_getaffinity(0))
THREADS = {"demo": 1, "paper": CORES}
"""Of torch, as is fastest: the demo's network is too small to divide."""
QUICK = {
    "demo": Plan(rounds=1, seconds=2, connections=(4, 32), shares=(IDLE, BUSY, TWICE), patience=4)
}
FULL = {
    "demo": Plan(
        rounds=3,
        seconds=6,
        connections=(4, 16, 64),
        shares=(IDLE, 0.5, BUSY, 1.2, TWICE),
        patience=10,
    ),
    "paper": Plan(
        rounds=2, seconds=20, connections=(4, 32), shares=(IDLE, BUSY, TWICE), patience=40
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the demo's network, about 90 s")
    parser.add_argument(
        "--explain", action="store_true", help="predictions and health beside explanations"
    )
    given = parser.parse_args()
    missed: list[Bar] = []
    for network, plan in (QUICK if given.quick else FULL).items():
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            subject = Subject.of(network, threads=THREADS[network], directory=directory)
            if given.explain:
                record = under_explanations(subject, directory, seconds=2 * plan.seconds)
                bars = explain_bars(record)
            else:
                record = compared(subject, plan, directory)
                bars = load_bars(network, record)
        print(*bars, sep="\n")
        print(json.dumps({"network": network, **record}), flush=True)
        missed += [bar for bar in bars if not bar.held]
    if missed and not given.quick:
        raise SystemExit(f"{len(missed)} bars were missed")


def compared(subject: Subject, plan: Plan, directory: Path) -> Record:
    """All turns of all contenders, printed as they end."""
    print(f"{CORES} cores, {plan.rounds} rounds, loads of {plan.seconds:g} s\n{HEADER}", flush=True)
    turns = []
    for turn in rounds(subject, plan, directory):
        print(*map(row, turn.cells), sep="\n", flush=True)
        turns.append(turn)
    return figures(turns)


if __name__ == "__main__":
    main()
