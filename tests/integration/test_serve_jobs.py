"""Explanations as jobs on a cluster that loses its parts, or all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import yaml
from moto.server import ThreadedMotoServer
from support.checkpoints import save_tiny
from support.postgres import postgres
from support.processes import cpu_s, wait_for
from support.service import EXPLAIN, replicas, running, scene, values
from support.service_process import HOST, config_in, healthy, serving

from ier_ray import s3
from ier_ray.serve.schemas import AppArgs, JobSettings

pytestmark = pytest.mark.alone

JOBS = "/v1/explanations"
DEEP: dict[str, Any] = {"depth": 10, "score": "log_odds", "baseline": "blur"}
"""Some seconds of work for the networks here."""
Reply = dict[str, Any]


@pytest.fixture(scope="module")
def url(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with jobs."""
    directory = tmp_path_factory.mktemp("served")
    jobs = JobSettings(storage=str(directory / "jobs"))
    args = AppArgs(checkpoint=save_tiny(directory / "checkpoint"), jobs=jobs)
    with running(args) as found:
        yield found


def submit(url: str, *images: bytes) -> str:
    files = [("image", image) for image in images]
    reply = httpx.post(f"{url}{JOBS}", files=files, params=DEEP, timeout=60)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def job(url: str, identity: str) -> Reply | None:
    """A job; None while the service is not there."""
    try:
        reply = httpx.get(f"{url}{JOBS}/{identity}", timeout=60)
    except httpx.TransportError:
        return None
    assert reply.status_code in (200, 500, 502, 503), reply.text
    found: Reply = reply.json()
    return found if reply.is_success else None


def levels(url: str, identity: str) -> list[int]:
    found = job(url, identity)
    return (
        [] if found is None else [-1 if e["level"] is None else e["level"] for e in found["images"]]
    )


def wait_for_level(url: str, identity: str, level: int) -> None:
    """Until one of the images has it."""
    wait_for(lambda: max(levels(url, identity), default=-1) >= level)


def ended(url: str, identity: str) -> Reply:
    found: list[Reply] = []

    def has_ended() -> bool:
        reply = job(url, identity)
        if reply is not None and reply["ended"] is not None:
            found.append(reply)
        return bool(found)

    wait_for(has_ended)
    return found[0]


def test_a_job_outlives_its_explainer_and_its_keeper(url: str) -> None:
    image = scene(1)
    identity = submit(url, image)
    for level, name in ((5, "Explainer"), (6, "JobKeeper")):
        wait_for_level(url, identity, level)
        for process in replicas(name):
            process.kill()
    finished = ended(url, identity)
    assert finished["state"] == "finished"
    found = httpx.get(f"{url}{JOBS}/{identity}/0").json()
    expected = httpx.post(f"{url}{EXPLAIN}", content=image, params=DEEP, timeout=60).json()
    assert (found["complete"], expected["complete"]) == (True, True)
    np.testing.assert_allclose(values(found), values(expected), atol=1e-6)


def test_a_cancelled_job_leaves_its_explainer_idle(url: str) -> None:
    identity = submit(url, *(scene(seed) for seed in range(10, 16)))
    wait_for_level(url, identity, 4)
    stopped = httpx.post(f"{url}{JOBS}/{identity}:cancel", timeout=60).json()
    assert stopped["state"] == "cancelled"
    (explainer,) = replicas("Explainer")

    wait_for(lambda: cpu_s(explainer, during=1.0) < 0.2, seconds=10)
    assert min(levels(url, identity)) < DEEP["depth"]


@pytest.fixture(params=["SQLite", "PostgreSQL and S3"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Where jobs are kept."""
    if request.param == "SQLite":
        yield {"storage": str(tmp_path / "jobs")}
        return
    server = ThreadedMotoServer("127.0.0.1", int(os.environ["AWS_ENDPOINT_URL"].split(":")[-1]))
    server.start()
    try:
        s3.client().create_bucket(Bucket="jobs")
        with postgres() as url:
            yield {"storage": "s3://jobs/of/a/service", "database": f"{url}jobs"}
    finally:
        server.stop()


def test_jobs_go_on_when_the_whole_cluster_was_killed(
    tmp_path: Path, places: dict[str, Any]
) -> None:
    config = config_in(tmp_path, jobs=places)
    port = yaml.safe_load(config.read_text())["http_options"]["port"]
    url, images = f"http://{HOST}:{port}", [scene(seed) for seed in range(3)]
    with serving(config) as process:
        assert healthy(port)
        identity = submit(url, *images)
        wait_for_level(url, identity, 6)
        before = job(url, identity)
        cluster = [process, *psutil.Process(process.pid).children(recursive=True)]
        for each in cluster:
            each.kill()
    assert before is not None
    assert before["state"] == "running"
    with serving(config):
        assert healthy(port)
        finished = ended(url, identity)
        found = [httpx.get(f"{url}{JOBS}/{identity}/{place}").json() for place in range(3)]
    assert {each["state"] for each in finished["images"]} == {"finished"}
    with serving(config):  # one whose explainers know nothing
        assert healthy(port)
        fresh = [
            httpx.post(f"{url}{EXPLAIN}", content=image, params=DEEP, timeout=60).json()
            for image in images
        ]
    for mine, expected in zip(found, fresh, strict=True):
        assert mine["cost"]["rows"] == expected["cost"]["rows"]
        np.testing.assert_allclose(values(mine), values(expected), atol=1e-6)
