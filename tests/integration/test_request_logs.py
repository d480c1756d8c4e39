"""The id of a request in the package's log, in each deployment and in the engine's threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from support.engines import CountingNetwork, Waiting, job_of, small_network
from support.processes import wait_for

from ier_ray.explain import AnytimeExplainer
from ier_ray.explain.demands import Demands
from ier_ray.explain.engine import Engine
from ier_ray.explain.evaluators import Interrupt
from ier_ray.serve.ports import free_port
from ier_ray.serve.request_logs import in_own_call, log_to_serve

logger = logging.getLogger("ier_ray.tests")

MESSAGES = ("begins", "asked for", "an explanation")
"""Beginnings of what the package logs here; the rest is Serve's."""


@serve.deployment
class Failing:
    """An engine whose explanations fail."""

    def __init__(self) -> None:
        log_to_serve()
        self._engine = Engine()
        self._network = CountingNetwork(small_network())
        self._network.before = self._fail

    def _fail(self) -> None:
        raise RuntimeError("no")

    def _demands(self, interrupt: Interrupt) -> Demands:
        raise RuntimeError("no")

    async def explain(self, step: str) -> None:
        """Wait for the failure of an explanation."""
        logger.info("asked for %s", step)
        job = job_of(self._network, AnytimeExplainer(1))
        if step == "plan":
            job = replace(job, demands=self._demands)
        waiting = Waiting()
        self._engine.submit(replace(job, key=object()), waiting)
        await asyncio.to_thread(waiting.answer)


@serve.deployment
class Front:
    """Asks twice for each request."""

    def __init__(self, failing: DeploymentHandle) -> None:
        log_to_serve()
        self._failing = failing

    async def __call__(self, request: Request) -> str:
        """Ask at the same time, as for several images of one request."""
        logger.warning("begins")
        explain: Any = self._failing.explain
        calls = [in_own_call(partial(explain.remote, step)) for step in ("batch", "plan")]
        await asyncio.gather(*calls)
        return "ended"


@pytest.fixture(scope="module")
def url(cluster: None) -> Iterator[str]:
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    deployments: list[Any] = [Front, Failing]  # decorated: no longer classes
    serve.run(deployments[0].bind(deployments[1].bind()), name="logs", route_prefix="/")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


def lines(deployment: str, request_id: str) -> list[str]:
    """What the replicas of a deployment have logged for a request, without times of Serve."""
    logs = Path(ray._private.worker._global_node.get_logs_dir_path()) / "serve"
    found = [
        line.partition(f" {request_id} -- ")[2]
        for file in logs.glob(f"replica_logs_{deployment}_*.log")
        for line in file.read_text().splitlines()
    ]
    return sorted(line for line in found if line.startswith(MESSAGES))


def has_lines(deployment: str, request_id: str, count: int) -> bool:
    return len(lines(deployment, request_id)) == count


def test_all_that_is_logged_for_a_request_has_its_id(url: str) -> None:
    for request_id in ("first", "second"):
        headers = {"x-request-id": request_id}
        assert httpx.get(url, headers=headers, timeout=60).text == "ended"
    expected = [
        "an explanation failed while its masked images were scored",
        "an explanation failed while it was planned",
        "asked for batch",
        "asked for plan",
    ]
    for request_id in ("first", "second"):
        wait_for(partial(has_lines, "Failing", request_id, 4), seconds=20)
        assert lines("Failing", request_id) == sorted(expected)
        assert lines("Front", request_id) == ["begins"]
