"""The service under load: replies are not mixed, what nobody wants any longer stops."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from support.service import (
    EXPLAIN,
    MODEL,
    PREDICT,
    events_of,
    expected_probabilities,
    expected_values,
    replicas,
    running,
    scene,
    values,
)

from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.serve.schemas import AppArgs

pytestmark = pytest.mark.alone

LONG: dict[str, str | int] = {"depth": 10, "contexts": "both"}
"""An explanation that takes many seconds."""


@pytest.fixture(scope="module")
def client(checkpoints: tuple[Path, Path]) -> Iterator[httpx.Client]:
    args = AppArgs(checkpoint=str(checkpoints[0]), max_explanations=8, max_depth=12)
    with running(args, explainers=2) as url, httpx.Client(base_url=url, timeout=120) as client:
        yield client


def test_every_reply_among_many_is_its_own(
    client: httpx.Client, checkpoints: tuple[Path, Path]
) -> None:
    recognizer = Recognizer.load(str(checkpoints[0]))
    kinds: list[dict[str, Any]] = [
        {"depth": 4},
        {"depth": 6, "contexts": "absent", "tolerance": 0.001},
        {"depth": 3, "budget": 40},
        {"depth": 3, "first_axis": "both"},
    ]
    cases = [(seed, kinds[seed % 4]) for seed in range(24)]

    def explained(case: tuple[int, dict[str, Any]]) -> dict[str, Any]:
        while True:
            reply = client.post(EXPLAIN, content=scene(case[0]), params=case[1])
            if reply.status_code != 503:
                assert reply.status_code == 200, reply.text
                return dict(reply.json())
            assert reply.json()["error"] == "busy"
            time.sleep(0.2)

    def predicted(seed: int) -> dict[str, Any]:
        return dict(client.post(PREDICT, content=scene(seed)).json())

    with ThreadPoolExecutor(12) as pool:
        predictions = [pool.submit(predicted, seed) for seed in range(24)]
        explanations = list(pool.map(explained, cases))
    for (seed, kind), reply in zip(cases, explanations, strict=True):
        expected = expected_values(recognizer, scene(seed), ExplainerSettings(**kind))
        np.testing.assert_allclose(values(reply), expected, atol=1e-5)
        assert reply["weights_sha256"] == recognizer.manifest.weights_sha256
        assert reply["complete"]
    for seed, prediction in enumerate(predictions):
        found = list(prediction.result()["probabilities"].values())
        expected = expected_probabilities(recognizer, scene(seed))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert prediction.result()["weights_sha256"] == recognizer.manifest.weights_sha256


def test_levels_stream_and_the_last_is_the_whole(client: httpx.Client) -> None:
    headers = {"accept": "text/event-stream"}
    query = {"depth": 5}
    with client.stream(
        "POST", EXPLAIN, content=scene(100), params=query, headers=headers
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = list(events_of(response))
    assert [name for name, _ in events] == ["level"] * 5 + ["explanation"]
    assert [len(each["leaves"]) for _, each in events] == [1, 2, 4, 8, 16, 32]
    assert [each["complete"] for _, each in events] == [False] * 5 + [True]
    whole = client.post(EXPLAIN, content=scene(100), params=query).json()
    assert events[-1][1]["leaves"] == whole["leaves"]
    for depth, (_, level) in enumerate(events):
        found = client.post(EXPLAIN, content=scene(100), params={"depth": depth}).json()
        np.testing.assert_allclose(values(level), values(found), atol=1e-9)


def busy_seconds(name: str) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in replicas(name))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-request-disconnect-disabled": "?1", "x-request-timeout-seconds": "0"},
        {"accept": "text/event-stream", "x-request-disconnect-disabled": "?1"},
    ],
)
@pytest.mark.parametrize("query", [LONG, {"depth": 8, "budget": 8000}])
def test_disconnecting_stops_the_computation(
    client: httpx.Client, headers: dict[str, str], query: dict[str, Any]
) -> None:
    seed = 200 + hash(str((headers, query))) % 1000
    with (
        httpx.Client(base_url=client.base_url, timeout=2.0) as impatient,
        contextlib.suppress(httpx.TimeoutException),
        impatient.stream("POST", EXPLAIN, content=scene(seed), params=query, headers=headers) as it,
    ):
        began = time.monotonic()
        for _ in it.iter_bytes():
            if time.monotonic() - began > 1:
                break
    time.sleep(1.5)  # at most a batch is still computed, and the news has to arrive
    before = busy_seconds("Explainer")
    time.sleep(2)
    assert busy_seconds("Explainer") - before < 0.5


def test_too_many_explanations_are_refused_while_predictions_and_health_go_on(
    client: httpx.Client,
) -> None:
    statuses: list[tuple[int, str]] = []

    def ask(seed: int) -> None:
        with httpx.Client(base_url=client.base_url, timeout=4) as own:
            try:
                reply = own.post(EXPLAIN, content=scene(seed), params=LONG)
                statuses.append((reply.status_code, reply.headers.get("retry-after", "")))
            except httpx.TimeoutException:
                pass

    threads = [threading.Thread(target=ask, args=(300 + seed,)) for seed in range(20)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    assert client.get("/healthz").status_code == 200
    assert client.post(PREDICT, content=scene(1)).status_code == 200
    for thread in threads:
        thread.join()
    assert len([each for each in statuses if each[0] == 503]) >= 12
    assert all(retry for status, retry in statuses if status == 503)


def test_after_the_load_nothing_is_left(client: httpx.Client) -> None:
    """Threads and files of every replica are as many as before; no explanation is open."""
    with ThreadPoolExecutor(6) as pool:  # all threads that there will be
        list(
            pool.map(
                lambda s: client.post(EXPLAIN, content=scene(s), params={"depth": 4}), range(12)
            )
        )

    def counts() -> list[tuple[int, int]]:
        each = replicas("Ingress") + replicas("Explainer")
        return sorted((p.num_threads(), p.num_fds()) for p in each)

    before = counts()
    with ThreadPoolExecutor(6) as pool:
        list(
            pool.map(
                lambda s: client.post(EXPLAIN, content=scene(s), params={"depth": 4}), range(60)
            )
        )
    time.sleep(2)
    for (threads, files), (threads_before, files_before) in zip(counts(), before, strict=True):
        assert threads <= threads_before + 4
        assert files <= files_before + 4
    assert psutil.pid_exists(replicas("Ingress")[0].pid)


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", PREDICT, 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)
def test_errors_of_routes_have_the_documented_body(
    client: httpx.Client, method: str, path: str, status: int, error: str
) -> None:
    reply = client.request(method, path)
    assert (reply.status_code, reply.json()["error"]) == (status, error)
    assert path in reply.json()["detail"]


@pytest.mark.parametrize("path", ["/healthz", MODEL])
def test_head_is_get_without_a_body(client: httpx.Client, path: str) -> None:
    reply = client.head(path)
    assert (reply.status_code, reply.content) == (200, b"")
