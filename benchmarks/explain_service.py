"""Explanations: the engine alone, what scheduling costs, and the whole service.

``engine``: in this process, without Ray. ``scheduler``: the service's explainers on a cluster of
this machine, with a network that sleeps for each masked image, so that replicas need no cores of
their own. ``service``: the real service over HTTP, with one torch thread per replica; Ray
gives its workers a lower priority (nice 15), so that other programs on the machine slow them down
more than the engine in this process.

Networks have random weights: the demo's at 64 pixels and, without --quick, a quarter of the paper's
width at 224. Compared pairs take turns in alternating rounds, and the median ratio counts. The
service explains with the quarter-width network, with --quick with the demo's; with --quick the
scheduler has 4 replicas, not 16. The exit code is 1 if a bar is missed, except with --quick.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from explaining.in_process import engine_lines
from explaining.over_http import service_lines
from explaining.scheduling import scheduler_lines
from explaining.subject import Line, Subject
from serving.report import Bar

SECTIONS = ("engine", "scheduler", "service")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the demo's network, one round")
    parser.add_argument("--only", choices=SECTIONS, help="one section")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    missed = 0
    for section in (given.only,) if given.only else SECTIONS:
        started = time.perf_counter()
        print(section, flush=True)
        found[section] = {}
        with tempfile.TemporaryDirectory() as name:
            for line in lines(section, Path(name), quick=given.quick):
                print(line, flush=True)
                found[section][line.name] = line.value
                missed += isinstance(line, Bar) and not line.held
        found[section]["seconds"] = time.perf_counter() - started
    print(json.dumps(found))
    if missed and not given.quick:
        raise SystemExit(f"{missed} bars were missed")


def lines(section: str, directory: Path, *, quick: bool) -> Iterator[Line]:
    """Bars and figures of a section, as they are measured."""
    rounds = 1 if quick else 3
    if section == "engine":
        for name in ("demo",) if quick else ("demo", "quarter"):
            yield from engine_lines(Subject.of(name, directory), rounds)
    elif section == "scheduler":
        replicas, each = (4, 4) if quick else (16, 8)
        demo = Subject.of("demo", directory)
        yield from scheduler_lines(demo, rounds, replicas=replicas, each=each)
    else:
        subject = Subject.of("demo" if quick else "quarter", directory)
        yield from service_lines(subject, directory, rounds)


if __name__ == "__main__":
    main()
