"""The service over HTTP."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
import yaml
from serving.contenders import OURS, SERVE_CONFIG, START_S, Server, served
from serving.load import HOST
from serving.report import Bar

from explaining.in_process import engine_s, warm_engine
from explaining.processes import two_over_one
from explaining.subject import PAIRS, Figure, Line, Subject, median_ratio

CLIENTS = 8
"""Threads that ask for explanations, each for the next when it has the last."""
COUNT = 2 * CLIENTS
"""Explanations of a measurement of throughput."""
TWO = "two"
"""Name and route of the application with two explainers."""
PATH = "/v1/models/ier:explain"
PATIENCE_S = 600.0
"""Longest time of a request; the service's own bounds would refuse some on a slow machine."""


@dataclass(frozen=True)
class Client:
    """Asks an application for explanations of new images."""

    subject: Subject
    url: str
    http: httpx.Client

    def unstreamed_s(self) -> float:
        """Seconds of one explanation."""
        return self._explained_s(self.subject.new_picture())

    def streamed_s(self) -> tuple[float, float]:
        """Seconds to the first level, and to the end, of one explanation."""
        image, first, body = self.subject.new_picture(), 0.0, b""
        started = time.perf_counter()
        with self.http.stream(
            "POST", self.url, content=image, headers={"Accept": "text/event-stream"}
        ) as reply:
            reply.raise_for_status()
            for chunk in reply.iter_raw():
                first = first or time.perf_counter() - started
                body += chunk
        whole = time.perf_counter() - started
        if not body.startswith(b"event: level") or b"event: explanation" not in body:
            raise SystemExit(f"no levels and explanation, but {body[:400]!r}")
        return first, whole

    def explanations_per_s(self, count: int) -> float:
        """Throughput of several clients."""
        images = [self.subject.new_picture() for _ in range(count)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            started = time.perf_counter()
            list(pool.map(self._explained_s, images))
            return count / (time.perf_counter() - started)

    def _explained_s(self, image: bytes) -> float:
        started = time.perf_counter()
        reply = self.http.post(self.url, content=image)
        seconds = time.perf_counter() - started
        reply.raise_for_status()
        if not reply.json()["complete"]:
            raise SystemExit(f"not complete after {seconds:.0f} s")
        return seconds


def service_lines(subject: Subject, directory: Path, rounds: int) -> Iterator[Line]:
    """All figures."""
    limits = httpx.Limits(max_connections=None)
    with (
        service(subject, directory) as server,
        httpx.Client(timeout=PATIENCE_S, limits=limits) as http,
        warm_engine(subject) as engine,
    ):
        one, two = (
            Client(
                subject, f"http://{HOST}:{server.port}{prefix}{PATH}?depth={subject.depth}", http
            )
            for prefix in ("", f"/{TWO}")
        )
        for client in (one, two):
            client.explanations_per_s(CLIENTS)  # warms up
        streamed = [one.streamed_s() for _ in range(PAIRS)]
        ratio = statistics.median(first / whole for first, whole in streamed)
        yield Figure("seconds when streamed", statistics.median(whole for _, whole in streamed))
        yield Bar("first level (level 0) over whole", ratio, 0.12)
        ratio = median_ratio(lambda: one.streamed_s()[1], one.unstreamed_s, PAIRS)
        yield Bar("streamed over unstreamed", ratio, 1.15)
        ratio = median_ratio(one.unstreamed_s, partial(engine_s, engine, subject), PAIRS)
        yield Bar("service over engine in this process", ratio, 1.15)
        ratio = median_ratio(
            partial(two.explanations_per_s, COUNT), partial(one.explanations_per_s, COUNT), rounds
        )
        yield Bar("explanations/s of two explainers over one", ratio, 1.7, at_least=True)
    ratio = two_over_one(subject, directory, count=COUNT, rounds=rounds)
    yield Figure("explanations/s of two processes over one, without the service", ratio)


@contextlib.contextmanager
def service(subject: Subject, directory: Path) -> Iterator[Server]:
    """Our config as `make serve` starts it, beside itself with two explainers.

    Both share the cluster and its proxy; only the one that is measured has load.
    """
    config = yaml.safe_load(SERVE_CONFIG.read_text())
    config["http_options"]["request_timeout_s"] = PATIENCE_S
    (one,) = config["applications"]
    bounds = {"max_backlog_s": PATIENCE_S, "deadline_s": PATIENCE_S - 10}
    one["args"] |= {"checkpoint": subject.checkpoint, **bounds}
    for deployment in one["deployments"]:
        deployment["ray_actor_options"] = {
            "num_cpus": 0.1,  # all must fit on two cores
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1"}},
        }
    two = copy.deepcopy(one)
    two |= {"name": TWO, "route_prefix": f"/{TWO}"}
    for deployment in two["deployments"]:
        if deployment["name"] == "Explainer":
            deployment["num_replicas"] = 2
    config["applications"].append(two)
    with served(config, directory) as server:
        server.wait_until_ready(OURS, subject.new_picture())
        wait_for_explainers(server)
        server.settle()
        yield server


def wait_for_explainers(server: Server) -> None:
    """Wait until both replicas of the second application are initialized.

    Raises:
        SystemExit: when they are not in time.
    """
    ready = f"ray::ServeReplica:{TWO}:Explainer"  # the title names a method while it runs
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = server.process.children(recursive=True)
            titles = [" ".join(child.cmdline()).strip() for child in children]
            if titles.count(ready) == 2:
                return
        time.sleep(0.2)
    raise SystemExit(f"two explainers did not start:\n{server.log.read_text()[-4000:]}")
