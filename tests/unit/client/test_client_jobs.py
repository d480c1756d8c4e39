"""Both clients and the jobs of a service in a process of its own, which is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support.checkpoints import save_tiny
from support.jobs_server import jobs_server
from support.pictures import picture, saved
from support.processes import wait_for
from support.scripted_server import hang_up, reply, scripted

from ier_ray.client import (
    AsyncClient,
    Client,
    ProblemError,
    UnreachableError,
    attempts,
    job_calls,
)
from ier_ray.client.job_calls import LONGEST_S, SHORTEST_S, Watch
from ier_ray.client.records import Job
from ier_ray.errors import ServiceError
from ier_ray.serve.ports import free_port
from ier_ray.serve.schemas import AppArgs, JobSettings

IMAGES = [saved(picture(seed)) for seed in range(4)]
JOB: dict[str, Any] = {
    "id": "0" * 32,
    "state": "running",
    "network": "ier",
    "settings": {},
    "target": None,
    "created": "2026-01-01T00:00:00Z",
    "ended": None,
    "images": [{"state": "running", "level": 1, "rows": 7, "explanation": None, "error": None}],
}
ENDED = JOB | {"state": "finished", "ended": "2026-01-01T00:01:00Z"}
both = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def args(checkpoint: str, tmp_path: Path) -> AppArgs:
    return AppArgs(checkpoint=checkpoint, jobs=JobSettings(storage=str(tmp_path / "jobs")))


@pytest.fixture(scope="module")
def url(checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    jobs = JobSettings(storage=str(tmp_path_factory.mktemp("jobs")))
    with jobs_server(AppArgs(checkpoint=checkpoint, jobs=jobs)) as server:
        yield server.url


def last(client: Client, job: str, **options: Any) -> Job:
    *_, found = client.watch(job, **options)
    return found


def watched(kind: str, url: str, job: str, **options: Any) -> list[Job]:
    """All that a client of either kind is told of a job until it has ended."""
    if kind == "sync":
        with Client(url, retries=0) as client:
            return list(client.watch(job, **options))

    async def told() -> list[Job]:
        async with AsyncClient(url, retries=0) as client:
            return [each async for each in client.watch(job, **options)]

    return asyncio.run(told())


def test_a_job_is_explained_as_a_request(url: str) -> None:
    with Client(url) as client:
        submitted = client.submit(IMAGES[0], depth=3, target="sad", score="logit")
        job = last(client, submitted.id)
        assert (job.state, job.target, job.images[0].state) == ("finished", "sad", "finished")
        assert client.job(job.id) == job
        expected = client.explain(IMAGES[0], depth=3, target="sad", score="logit")
        found = client.explanation(job.id)
        assert found.complete
        assert found.levels == expected.levels
        assert job.images[0].rows == found.cost.rows > 0
        assert client.explanation_heat_map(job.id) == client.heat_map(
            IMAGES[0], depth=3, target="sad", score="logit"
        )
        direct = client.credits(IMAGES[0], depth=3, target="sad", score="logit")
        found_arrays = client.explanation_credits(job.id)
        np.testing.assert_allclose(found_arrays["credits"], direct["credits"], atol=1e-12)
        arrays = client.explanation_arrays(job.id, 0)
        assert (arrays.complete, arrays.weights_sha256) == (True, found.weights_sha256)


def test_both_clients_give_the_same(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(IMAGES[1])

    async def asked() -> list[Any]:
        async with AsyncClient(url) as client:
            job = await client.submit([tmp_path / "a.png", b"no image"], key="both", depth=2)
            told = [each async for each in client.watch(job.id)]
            newest = await client.jobs(1)
            return [
                told[-1],
                newest[0].id,
                await client.job(job.id),
                await client.cancel(job.id),
                await client.explanation(job.id, 0),
                await client.explanation_heat_map(job.id, 0),
                (await client.explanation_credits(job.id, 0))["credits"].tolist(),
            ]

    found = asyncio.run(asked())
    with Client(url) as client:
        job = client.submit([tmp_path / "a.png", b"no image"], key="both", depth=2)
        assert found == [
            last(client, job.id),
            client.jobs(1)[0].id,
            client.job(job.id),
            client.cancel(job.id),
            client.explanation(job.id, 0),
            client.explanation_heat_map(job.id, 0),
            client.explanation_credits(job.id, 0)["credits"].tolist(),
        ]


def test_a_key_is_one_job_and_without_one_each_is_new(url: str) -> None:
    with Client(url) as client:
        first = client.submit([IMAGES[2]], key="mine", depth=1)
        assert client.submit([IMAGES[2]], key="mine", depth=1).id == first.id
        assert client.submit(IMAGES[2], depth=1).id != client.submit(IMAGES[2], depth=1).id
        with pytest.raises(ProblemError, match="key_used"):
            client.submit([IMAGES[2]], key="mine", depth=2)
        with pytest.raises(ProblemError, match="422"):
            client.submit([IMAGES[2]], key="two words", depth=2)


def test_an_image_fails_alone_and_says_why(url: str) -> None:
    with Client(url) as client:
        job = last(client, client.submit([b"no image", IMAGES[0]], depth=1).id)
        assert [each.state for each in job.images] == ["failed", "finished"]
        assert job.images[0].error is not None
        assert job.images[0].error.error == "unidentified"
        with pytest.raises(ProblemError, match="unidentified"):
            client.explanation(job.id, 0)
        with pytest.raises(ProblemError, match="no_image"):
            client.explanation(job.id, 2)
        with pytest.raises(ProblemError, match="bad_images"):
            client.submit([b"no image"])


def test_a_deleted_job_is_forgotten(url: str) -> None:
    async def deleted(job: str) -> None:
        async with AsyncClient(url) as client:
            await client.delete(job)

    with Client(url) as client:
        first, second = (client.submit(IMAGES[3], depth=1).id for _ in range(2))
        client.delete(first)
        asyncio.run(deleted(second))
        for job in (first, second):
            with pytest.raises(ProblemError, match="no_job"):
                client.job(job)


@pytest.mark.parametrize("wrong", ["0" * 32, "nothing", "", "../models/ier", "a/b", "a?b#c"])
@both
def test_wrong_ids_are_refused_at_once(url: str, kind: str, wrong: str) -> None:
    with pytest.raises(ProblemError) as caught:
        watched(kind, url, wrong)
    assert caught.value.status in (307, 404, 422)
    with Client(url, retries=0) as client, pytest.raises(ProblemError):
        client.cancel(wrong)


def test_a_cancelled_job_ends_and_keeps_its_levels(args: AppArgs) -> None:
    with jobs_server(args, seconds=0.3) as server, Client(server.url) as client:
        job = client.submit(saved(picture(20)), depth=8)
        for found in client.watch(job.id):
            if (found.images[0].level or 0) >= 2 and found.ended is None:
                client.cancel(job.id)
        assert found.state == "cancelled"
        partial = client.explanation(job.id)
        assert not partial.complete
        assert partial.levels[-1].level == found.images[0].level


@both
def test_a_killed_service_is_waited_for(args: AppArgs, kind: str) -> None:
    image, port, told = saved(picture(30 + len(kind))), free_port(), list[Job]()
    with jobs_server(args, seconds=0.3, port=port) as server:
        with Client(server.url) as client:
            job = client.submit(image, depth=6).id
            wait_for(lambda: (client.job(job).images[0].level or 0) >= 2, seconds=30)
        watching = threading.Thread(target=lambda: told.extend(watched(kind, server.url, job)))
        watching.start()
        with Client(server.url) as client:
            wait_for(lambda: (client.job(job).images[0].level or 0) >= 3, seconds=30)
        server.kill()
    with jobs_server(args, port=port) as server:
        watching.join(60)
        assert not watching.is_alive()
        with Client(server.url) as client:
            found = client.explanation(job)
            expected = client.explain(image, depth=6)
    levels = [each.images[0].level or 0 for each in told]
    assert levels == sorted(levels)
    assert (told[-1].state, levels[-1], levels[0] < 6) == ("finished", 6, True)
    assert found.levels == expected.levels


@both
def test_patience_ends(kind: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError):
        watched(kind, url, "0" * 32, patience=0.6)


def json_reply(content: dict[str, Any], status: int = 200) -> Callable[[Any], None]:
    return reply(status, json.dumps(content).encode())


def torn(handler: Any) -> None:
    """The beginning of a reply."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.close_connection = True


@both
def test_watching_outlives_what_passes_and_tells_each_change_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_calls, "LONGEST_S", 0.05)
    passing = [hang_up, torn, reply(503), reply(502), reply(504)]
    with scripted(json_reply(JOB), *passing, json_reply(JOB), json_reply(ENDED)) as server:
        told = watched(kind, server.url, JOB["id"])
        assert len(server.seen) == 8
    assert told == [Job.model_validate(JOB), Job.model_validate(ENDED)]
    with scripted(json_reply(JOB), reply(401)) as server, pytest.raises(ProblemError, match="401"):
        watched(kind, server.url, JOB["id"])
    with scripted(json_reply({})) as server, pytest.raises(ServiceError, match="not a Job"):
        watched(kind, server.url, JOB["id"])


@both
def test_a_submission_that_is_sent_again_has_the_same_key(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "FIRST_WAIT_S", 0.01)

    async def submitted(url: str) -> None:
        async with AsyncClient(url) as client:
            await client.submit(IMAGES[0])

    with scripted(hang_up, reply(503), json_reply(JOB, 202)) as server:
        for _ in range(2):
            if kind == "async":
                asyncio.run(submitted(server.url))
            else:
                with Client(server.url) as client:
                    client.submit(IMAGES[0])
        keys = [headers["idempotency-key"] for _, headers in server.seen]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_a_connection_lost_after_the_job_was_recorded_makes_no_second_one(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "FIRST_WAIT_S", 0.01)

    class Losing(httpx.HTTPTransport):
        """Loses the first reply."""

        lost = 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            found = super().handle_request(request)
            if request.method == "POST" and not self.lost:
                self.lost += 1
                with contextlib.closing(found):
                    raise httpx.ReadError("lost")
            return found

    transport = Losing()
    with Client(url, transport=transport) as client:
        before = [each.id for each in client.jobs(100)]
        job = client.submit(IMAGES[3], depth=1)
        assert transport.lost == 1
        assert [each.id for each in client.jobs(100)] == [job.id, *before]


def test_questions_become_fewer_while_nothing_happens() -> None:
    now, job = [0.0], Job.model_validate(JOB)
    watch = Watch(60.0, clock=lambda: now[0])
    assert watch.is_news(job)
    assert watch.pause_s == SHORTEST_S
    for _ in range(20):
        before = watch.pause_s
        assert not watch.is_news(job)
        assert before < watch.pause_s or watch.pause_s == LONGEST_S
    assert watch.is_news(Job.model_validate(ENDED))
    assert watch.pause_s == LONGEST_S / 2
    now[0] = 59.0
    watch.failed(UnreachableError("away"))
    assert not watch.is_news(Job.model_validate(ENDED))
    now[0] = 118.0
    watch.failed(UnreachableError("away"))
    now[0] = 119.0
    with pytest.raises(UnreachableError):
        watch.failed(UnreachableError("away"))
