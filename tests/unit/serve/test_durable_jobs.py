"""Explanations as jobs, in a process that is killed, on SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
import io
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from support.checkpoints import save_tiny
from support.jobs_server import jobs_server
from support.pictures import picture, saved
from support.postgres import postgres, stopped
from support.processes import wait_for

from ier_ray.serve.jobs.database import NO_DATABASE_S
from ier_ray.serve.schemas import AppArgs, JobSettings
from ier_ray.serve.tokens import create_token

JOBS = "/v1/explanations"
EXPLAIN = "/v1/models/ier:explain"
PACE_S = 0.4
Reply = dict[str, Any]


@dataclass
class Client:
    """Asks a server for jobs."""

    http: httpx.Client

    def submit(self, image: bytes, key: str | None = None, **query: Any) -> Reply:
        headers = {} if key is None else {"idempotency-key": key}
        reply = self.http.post(JOBS, content=image, params=query, headers=headers)
        assert reply.status_code == 202, reply.text
        found: Reply = reply.json()
        assert reply.headers["location"] == f"{JOBS}/{found['id']}"
        return found

    def job(self, found: Reply) -> Reply:
        reply: Reply = self.http.get(f"{JOBS}/{found['id']}").raise_for_status().json()
        return reply

    def ended(self, found: Reply) -> Reply:
        wait_for(lambda: self.job(found)["ended"] is not None, seconds=60)
        return self.job(found)

    def level(self, found: Reply) -> int:
        level = self.job(found)["images"][0]["level"]
        return -1 if level is None else int(level)

    def explained(self, image: bytes, **query: Any) -> Reply:
        """By the route that keeps nothing."""
        reply: Reply = self.http.post(EXPLAIN, content=image, params=query).json()
        return reply


def client_of(url: str, token: str | None = None) -> Client:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return Client(httpx.Client(base_url=url, headers=headers, timeout=60))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fresh(
    request: pytest.FixtureRequest, checkpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], AppArgs]]:
    """Makes settings with a storage and a database of their own: one process at a time has both."""
    numbers = itertools.count()

    def of(server: str | None) -> AppArgs:
        location = str(tmp_path_factory.mktemp("jobs"))
        database = None if server is None else f"{server}jobs{next(numbers)}"
        return AppArgs(checkpoint=checkpoint, jobs=JobSettings(storage=location, database=database))

    if request.param == "sqlite":
        yield lambda: of(None)
        return
    with postgres() as server:
        yield lambda: of(server)


@pytest.fixture
def args(fresh: Callable[[], AppArgs]) -> AppArgs:
    return fresh()


@pytest.fixture(scope="module")
def client(fresh: Callable[[], AppArgs]) -> Iterator[Client]:
    with jobs_server(fresh()) as server:
        yield client_of(server.url)


def values(reply: Reply) -> np.ndarray:
    return np.array([leaf["value"] for leaf in reply["leaves"]])


def test_a_job_gives_what_a_request_gives(client: Client) -> None:
    image = saved(picture(0))
    query: dict[str, Any] = {"depth": 4, "score": "logit", "target": "sad"}
    submitted = client.submit(image, **query)
    assert submitted["state"] in ("waiting", "running", "finished")
    ended = client.ended(submitted)
    assert (ended["state"], ended["images"][0]["level"]) == ("finished", 4)
    path, expected = ended["images"][0]["explanation"], client.explained(image, **query)
    found = client.http.get(path).json()
    for reply in (found, expected):
        reply["cost"].pop("seconds")
    assert found["cost"].pop("rows") == ended["images"][0]["rows"] > 0
    assert (expected["cost"].pop("rows"), found["cost"].pop("macs") > 0) == (0, True)
    expected["cost"].pop("macs")
    assert found == expected
    png = client.http.get(path, headers={"accept": "image/png"})
    direct = client.http.post(EXPLAIN, content=image, params=query, headers={"accept": "image/png"})
    assert png.content == direct.content
    npz = client.http.get(path, headers={"accept": "application/x-npz"})
    with np.load(io.BytesIO(npz.content)) as arrays:
        leaves = arrays["credits"][-(2**4) :, 1]
    np.testing.assert_allclose(np.sort(leaves), np.sort(values(expected)), atol=1e-12)


@pytest.mark.parametrize("preset", ["shapley", "sharp", "quick", "paper"])
def test_every_preset_can_be_a_job(client: Client, preset: str) -> None:
    image = saved(picture(40))
    ended = client.ended(client.submit(image, preset=preset))
    assert [each["state"] for each in ended["images"]] == ["finished"]
    found = client.http.get(ended["images"][0]["explanation"]).json()
    expected = values(client.explained(image, preset=preset))
    np.testing.assert_allclose(values(found), expected, atol=1e-6)


def test_the_same_key_is_one_job_and_another_job_needs_another_key(client: Client) -> None:
    image = saved(picture(1))
    first = client.submit(image, key="once", depth=2)
    assert client.submit(image, key="once", depth=2)["id"] == first["id"]
    assert client.submit(image, key="twice", depth=2)["id"] != first["id"]
    assert client.submit(image, depth=2)["id"] != first["id"]
    other = client.http.post(
        JOBS, content=image, params={"depth": 3}, headers={"idempotency-key": "once"}
    )
    assert (other.status_code, other.json()["error"]) == (422, "key_used")


def test_a_bad_image_fails_alone_and_only_bad_ones_make_no_job(client: Client) -> None:
    files = [("image", saved(picture(2))), ("image", b"no image"), ("image", saved(picture(3)))]
    submitted = client.http.post(JOBS, files=files, params={"depth": 2}).json()
    images = client.ended(submitted)["images"]
    assert [each["state"] for each in images] == ["finished", "failed", "finished"]
    assert images[1]["error"]["instance"] == f"{JOBS}/{submitted['id']}#/images/1"
    assert client.http.get(f"{JOBS}/{submitted['id']}/1").status_code == 409
    assert client.http.get(f"{JOBS}/{submitted['id']}/2").status_code == 200
    assert client.http.get(f"{JOBS}/{submitted['id']}/3").json()["error"] == "no_image"
    assert client.http.post(JOBS, content=b"no image").status_code == 415


def test_wrong_requests_are_refused_before_anything_is_recorded(client: Client) -> None:
    image, before = saved(picture(4)), client.http.get(JOBS).json()
    for query, status in (({"depth": 99}, 422), ({"target": "joy"}, 422), ({"network": "x"}, 422)):
        assert client.http.post(JOBS, content=image, params=query).status_code == status
    headers = {"idempotency-key": "two words"}
    assert client.http.post(JOBS, content=image, headers=headers).status_code == 422
    assert client.http.get(f"{JOBS}/{'0' * 32}").json()["error"] == "no_job"
    assert client.http.delete(f"{JOBS}/{'0' * 32}").json()["error"] == "no_job"
    assert client.http.get(f"{JOBS}/nothing").json()["error"] == "not_found"
    refused = client.http.put(JOBS)
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert client.http.get(JOBS).json() == before


def test_the_newest_jobs_are_listed_first(client: Client) -> None:
    made = [client.submit(saved(picture(5)), depth=1)["id"] for _ in range(3)]
    listed = client.http.get(JOBS, params={"limit": 2}).json()["jobs"]
    assert [each["id"] for each in listed] == made[:0:-1]


def test_a_killed_process_goes_on_and_repeats_no_finished_level(args: AppArgs) -> None:
    image = saved(picture(6))
    query: dict[str, Any] = {"depth": 7, "contexts": "both", "baseline": "blur"}
    with jobs_server(args, seconds=1.5) as server:
        client = client_of(server.url)
        job = client.submit(image, **query)
        wait_for(lambda: client.level(job) >= 3, seconds=60)
        server.kill()
    with jobs_server(args, seconds=1.5) as server:
        client = client_of(server.url)
        so_far: Reply = {}

        def has_gone_on() -> bool:
            so_far.update(client.http.get(f"{JOBS}/{job['id']}/0").json())
            return int(so_far["levels"][-1]["level"]) >= 5

        wait_for(has_gone_on, seconds=60)
        assert not so_far["complete"]
        server.kill()
    with jobs_server(args) as server:
        client = client_of(server.url)
        ended = client.ended(job)
        found = client.http.get(ended["images"][0]["explanation"]).json()
    assert (ended["state"], found["complete"]) == ("finished", True)
    with jobs_server(args) as server:  # one that knows nothing of the image
        expected = client_of(server.url).explained(image, **query)
    assert found["cost"]["rows"] == expected["cost"]["rows"] == ended["images"][0]["rows"]
    np.testing.assert_allclose(values(found), values(expected), atol=1e-12)
    whole = {level["level"]: level for level in expected["levels"]}
    for level in so_far["levels"]:
        assert level == whole[level["level"]]


def test_a_deeper_job_after_a_restart_computes_only_what_is_new(args: AppArgs) -> None:
    image = saved(picture(7))
    with jobs_server(args) as server:
        client = client_of(server.url)
        shallow = client.ended(client.submit(image, depth=4))
    with jobs_server(args) as server:
        client = client_of(server.url)
        deep = client.ended(client.submit(image, depth=6))
        again = client.submit(image, depth=6)
        assert client.ended(again)["images"] != deep["images"]  # another job, the same content
        assert client.ended(again)["images"][0]["rows"] == deep["images"][0]["rows"]
    with jobs_server(args) as server:
        whole = client_of(server.url).explained(image, depth=6)["cost"]["rows"]
    assert deep["images"][0]["rows"] == whole - shallow["images"][0]["rows"]


def test_a_storage_that_fails_is_no_fault_of_the_client(args: AppArgs, tmp_path: Path) -> None:
    jobs = JobSettings(storage=str(tmp_path / "kept"), database=f"sqlite:///{tmp_path}/own.sqlite")
    with jobs_server(args.model_copy(update={"jobs": jobs})) as server:
        client = client_of(server.url)
        done = client.ended(client.submit(saved(picture(30)), depth=1))
        shutil.rmtree(tmp_path / "kept")
        (tmp_path / "kept").write_text("no directory")
        refused = client.http.post(JOBS, content=saved(picture(31)), params={"depth": 1})
        assert (refused.status_code, refused.json()["error"]) == (503, "no_storage")
        assert str(tmp_path) not in refused.text
        assert client.http.get(JOBS).json()["jobs"] == [done]


def test_a_cancelled_job_stops_and_keeps_what_is_finished(args: AppArgs) -> None:
    with jobs_server(args, seconds=PACE_S) as server:
        client = client_of(server.url)
        job = client.submit(saved(picture(8)), depth=8)
        wait_for(lambda: client.level(job) >= 2, seconds=30)
        cancelled = client.http.post(f"{JOBS}/{job['id']}:cancel").json()
        assert (cancelled["state"], cancelled["images"][0]["state"]) == ("cancelled", "cancelled")
        level = client.level(job)
        assert 2 <= level < 7
        time.sleep(4 * PACE_S)
        assert client.level(job) == level
        server.kill()
    with jobs_server(args) as server:
        client = client_of(server.url)
        assert client.http.post(f"{JOBS}/{job['id']}:cancel").json()["state"] == "cancelled"
        assert client.level(job) == level
        found = client.http.get(f"{JOBS}/{job['id']}/0").json()
        assert (found["levels"][-1]["level"], found["complete"]) == (level, False)


def test_a_deleted_job_leaves_nothing_but_what_others_need(args: AppArgs) -> None:
    if args.jobs is None:
        raise AssertionError("no jobs")
    shared, own = saved(picture(20)), saved(picture(21))
    with jobs_server(args, seconds=PACE_S) as server:
        client = client_of(server.url)
        kept = client.submit(shared, depth=1)
        files = [("image", shared), ("image", own)]
        query = {"depth": 1}
        headers = {"idempotency-key": "gone"}
        done = client.http.post(JOBS, files=files, params=query, headers=headers).json()
        runs = client.submit(saved(picture(22)), depth=8)
        client.ended(kept)
        client.ended(done)
        found = [client.http.get(f"{JOBS}/{done['id']}/{place}").json() for place in (0, 1)]
        for each in (done, runs):
            assert client.http.delete(f"{JOBS}/{each['id']}").status_code == 204
            assert client.http.delete(f"{JOBS}/{each['id']}").json()["error"] == "no_job"
            assert client.http.get(f"{JOBS}/{each['id']}").json()["error"] == "no_job"
            assert client.http.get(f"{JOBS}/{each['id']}/0").json()["error"] == "no_job"
        listed = [
            each["id"] for each in client.http.get(JOBS, params={"limit": 100}).json()["jobs"]
        ]
        assert kept["id"] in listed
        assert {done["id"], runs["id"]}.isdisjoint(listed)
        again = client.http.post(JOBS, files=files, params=query, headers=headers)
        assert again.json()["error"] == "key_used"
        files_of = [hashlib.sha256(each).hexdigest() for each in (shared, own)]
        uploads = Path(args.jobs.storage) / "uploads"
        wait_for(lambda: not (uploads / files_of[1]).exists(), seconds=30)
        still = client.http.get(f"{JOBS}/{kept['id']}/0").json()
        assert still == found[0]


def test_jobs_that_ended_long_ago_are_deleted_with_their_files(args: AppArgs) -> None:
    if args.jobs is None:
        raise AssertionError("no jobs")
    with jobs_server(args) as server:
        client = client_of(server.url)
        old = client.ended(client.submit(saved(picture(50)), depth=1))
    short = args.jobs.model_copy(update={"keep_days": 1e-7})
    with jobs_server(args.model_copy(update={"jobs": short}), seconds=4.0) as server:
        client = client_of(server.url)
        runs = client.submit(saved(picture(51)), depth=6)
        gone = client.submit(saved(picture(52)), depth=1)
        client.http.delete(f"{JOBS}/{gone['id']}")  # what is over is looked for
        wait_for(lambda: client.http.get(f"{JOBS}/{old['id']}").status_code == 404, seconds=30)
        assert client.job(runs)["state"] == "running"
        uploads = Path(args.jobs.storage) / "uploads"
        kept = hashlib.sha256(saved(picture(51))).hexdigest()
        wait_for(lambda: [each.name for each in uploads.iterdir()] == [kept], seconds=30)


def test_a_database_that_sleeps_refuses_at_once_and_loses_nothing(checkpoint: str) -> None:
    with postgres() as server, TemporaryDirectory() as directory:
        jobs = JobSettings(storage=directory, database=f"{server}sleeping")
        with jobs_server(AppArgs(checkpoint=checkpoint, jobs=jobs), seconds=0.5) as process:
            client = client_of(process.url)
            before = client.submit(saved(picture(60)), depth=4)
            with stopped(server), ThreadPoolExecutor(12) as pool:
                keys = [f"key{number}" for number in range(12)]

                def submit(key: str) -> httpx.Response:
                    headers, query = {"idempotency-key": key}, {"depth": 2}
                    return client.http.post(
                        JOBS, content=saved(picture(61)), params=query, headers=headers
                    )

                for reply in pool.map(submit, keys):
                    assert (reply.status_code, reply.json()["error"]) == (503, "no_database")
                began = time.monotonic()
                assert client.http.get(JOBS).status_code == 503
                assert time.monotonic() - began < NO_DATABASE_S / 2
                threads = psutil.Process(process.process.pid).num_threads()
                for reply in pool.map(submit, keys * 4):
                    assert reply.status_code == 503
                assert psutil.Process(process.process.pid).num_threads() <= threads + 2
            wait_for(lambda: client.http.get(JOBS).is_success, seconds=60)
            assert client.ended(before)["state"] == "finished"
            found = {submit(key).json()["id"] for key in keys}
            assert len(found) == len(keys)
            assert all(client.ended({"id": each})["state"] == "finished" for each in found)


def test_a_client_has_its_own_jobs_only(args: AppArgs, tmp_path: Path) -> None:
    file = str(tmp_path / "tokens.json")
    ann, eve = create_token(file, "ann"), create_token(file, "eve", compute="2/hour")
    with jobs_server(args.model_copy(update={"tokens": file})) as server:
        mine, hers = client_of(server.url, ann), client_of(server.url, eve)
        image = saved(picture(9))
        job = mine.submit(image, key="same", depth=3)
        path = f"{JOBS}/{job['id']}"
        mine.ended(job)
        asked = (("GET", path), ("POST", f"{path}:cancel"), ("DELETE", path), ("GET", f"{path}/0"))
        for method, where in asked:
            assert hers.http.request(method, where).json()["error"] == "no_job"
        assert hers.http.get(JOBS).json() == {"jobs": []}
        assert [each["id"] for each in mine.http.get(JOBS).json()["jobs"]] == [job["id"]]
        assert hers.submit(image, key="same", depth=3)["id"] != job["id"]
        assert client_of(server.url).http.get(path).status_code == 401
