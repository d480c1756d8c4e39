"""A folder explained by jobs of a service in a process of its own, which is killed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support.checkpoints import save_tiny
from support.interface import interface
from support.jobs_server import jobs_server
from support.pictures import picture, saved
from support.processes import wait_for

from ier_ray.client import AsyncClient, Client, ProblemError, UnreachableError
from ier_ray.errors import DataError, StorageError
from ier_ray.explain.rendering import from_npz
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.remote_explanations import (
    Written,
    explain_by_jobs,
    explain_remotely,
    pictures_of,
)
from ier_ray.remote_explanations.open_jobs import NAME
from ier_ray.serve.ports import free_port
from ier_ray.serve.schemas import AppArgs, JobSettings

SETTINGS = ExplainerSettings(depth=3, score="logit")
SUBMISSION = ("POST", "/v1/explanations")


class Noting(httpx.AsyncHTTPTransport):
    """Notes what is submitted and replied, and ends the connection for good after some of it."""

    def __init__(self, *, lost_after: int | None = None) -> None:
        super().__init__()
        self.submitted: list[tuple[str, int, int]] = []
        self._lost_after = lost_after

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._lost_after is not None and request.url.path.count("/") == 4:
            self._lost_after -= 1
            if self._lost_after < 0:
                raise httpx.ConnectError("lost")
        found = await super().handle_async_request(request)
        if (request.method, request.url.path) == SUBMISSION:
            images = len(json.loads(request.content)["instances"])
            key = request.headers["idempotency-key"]
            self.submitted.append((key, images, found.status_code))
        return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def args(checkpoint: str, tmp_path: Path) -> AppArgs:
    jobs = JobSettings(storage=str(tmp_path / "jobs"), max_images=4)
    return AppArgs(checkpoint=checkpoint, jobs=jobs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures."""
    found = tmp_path / "pictures"
    found.mkdir()
    for number in range(10):
        (found / f"{number}.png").write_bytes(saved(picture(number)))
    return found


def run(
    url: str,
    folder: Path,
    output: Path,
    *,
    lost_after: int | None = None,
    retries: int = 0,
    **options: Any,
) -> tuple[list[Written], Noting]:
    transport = Noting(lost_after=lost_after)
    client = AsyncClient(url, transport=transport, retries=retries)
    pictures = pictures_of([str(folder)], str(output))
    given: dict[str, Any] = {"settings": SETTINGS} | options
    return explain_by_jobs(client, pictures, str(output), **given), transport


def jobs_of(url: str) -> set[str]:
    with Client(url) as client:
        return {job.id for job in client.jobs(100)}


def numbers(output: Path) -> Iterator[Path]:
    return output.glob("[0-9].json")


def test_a_folder_is_explained_as_by_requests(args: AppArgs, folder: Path, tmp_path: Path) -> None:
    by_jobs_, by_requests = tmp_path / "a", tmp_path / "b"
    with jobs_server(args) as server:
        found, transport = run(server.url, folder, by_jobs_)
        client = AsyncClient(server.url)
        pictures = pictures_of([str(folder)], str(by_requests))
        expected = explain_remotely(client, pictures, str(by_requests), settings=SETTINGS)
        again, silent = run(server.url, folder, by_jobs_)
    taken = [images for _, images, status in transport.submitted if status == 202]
    assert sum(taken) == 10
    assert max(taken) <= 4  # as the service takes
    assert [each.name for each in found] == [each.name for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.target == other.target
        assert (
            json.loads(Path(f"{one.files}.json").read_text())["service"]
            == (json.loads(Path(f"{other.files}.json").read_text())["service"])
        )
        arrays, direct = (from_npz(Path(f"{x.files}.npz").read_bytes()) for x in (one, other))
        np.testing.assert_allclose(arrays.credits, direct.credits, atol=1e-12)
    assert {path.name for path in by_jobs_.iterdir()} == {
        path.name for path in by_requests.iterdir()
    }
    assert (silent.submitted, [each.new for each in again]) == ([], [False] * 10)


def test_a_call_that_was_lost_is_continued_with_the_same_jobs(
    args: AppArgs, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with jobs_server(args, seconds=0.1) as server:
        with pytest.raises(UnreachableError):
            run(server.url, folder, output, at_once=2, lost_after=5)
        assert 0 < len(list(numbers(output))) <= 5
        before, noted = jobs_of(server.url), json.loads((output / NAME).read_text())
        assert 0 < len(noted) <= len(before)
        (folder / "00.png").write_bytes(saved(picture(90)))  # the first of the folder now
        found, transport = run(server.url, folder, output)
        after = jobs_of(server.url)
        with Client(server.url) as client:
            rows = sum(each.rows for job in client.jobs(100) for each in job.images)
            most = client.cost(depth=3, score="logit").evaluations * len(found)
    taken = [key[:-2] for key, _, status in transport.submitted if status == 202]
    assert set(noted) <= set(taken)
    assert before < after
    assert len(after - before) == len(set(taken) - set(noted))
    assert len(found) == 11
    assert rows <= most  # nothing was computed twice
    assert not (output / NAME).exists()


def test_a_killed_service_is_waited_for(args: AppArgs, folder: Path, tmp_path: Path) -> None:
    output, port, found = tmp_path / "output", free_port(), list[Written]()
    with jobs_server(args, seconds=0.3, port=port) as server:
        explaining = threading.Thread(
            target=lambda: found.extend(run(server.url, folder, output, at_once=3, retries=10)[0])
        )
        explaining.start()
        wait_for(lambda: len(jobs_of(server.url)) == 3, seconds=30)
        server.kill()
    with jobs_server(args, port=port):
        explaining.join(90)
        assert not explaining.is_alive()
    assert len(found) == len(list(numbers(output))) == 10


def test_bad_pictures_fail_alone_even_when_a_job_would_have_no_other(
    args: AppArgs, folder: Path, tmp_path: Path
) -> None:
    for number in range(5):
        (folder / f"{number}.png").write_bytes(b"no picture %d" % number)
    with jobs_server(args) as server:
        with pytest.raises(DataError) as caught:
            run(server.url, folder, tmp_path / "output")
        told = str(caught.value).splitlines()
    assert told[0] == "5 of 10 pictures are not explained, the others are:"
    assert [Path(line.partition(": ")[0]).name for line in told[1:]] == [
        f"{number}.png" for number in range(5)
    ]
    assert all("not an image of a known format" in line for line in told[1:])
    assert sorted(path.stem for path in numbers(tmp_path / "output")) == list("56789")


def test_a_cancelled_job_is_submitted_anew_by_the_next_call(
    args: AppArgs, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    for number in range(3, 10):
        (folder / f"{number}.png").unlink()
    with jobs_server(args, seconds=0.5) as server:
        problems: list[str] = []

        def explained() -> None:
            try:
                run(server.url, folder, output)
            except DataError as error:
                problems.append(str(error))

        explaining = threading.Thread(target=explained)
        explaining.start()
        wait_for(lambda: jobs_of(server.url), seconds=30)
        (job,) = jobs_of(server.url)
        with Client(server.url) as client:
            client.cancel(job)
        explaining.join(30)
        assert "not finished: its job is cancelled; call again" in problems[0]
        found, transport = run(server.url, folder, output)
    assert len(found) == 3
    assert [key[-2:] for key, *_ in transport.submitted] == ["-0", "-1"]


def test_other_settings_are_other_jobs(args: AppArgs, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with jobs_server(args, seconds=0.1) as server:
        with pytest.raises(UnreachableError):
            run(server.url, folder, output, lost_after=0)
        found, transport = run(server.url, folder, output, settings=ExplainerSettings(depth=1))
    assert len(found) == 10
    assert sum(images for _, images, status in transport.submitted if status == 202) == 10
    assert not (output / NAME).exists()


def test_a_service_without_jobs_says_so(checkpoint: str, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with interface(Path(checkpoint)) as (application, _):
        client = AsyncClient("http://s", transport=httpx.ASGITransport(app=application.app))
        pictures = pictures_of([str(folder)], str(output))
        with pytest.raises(ProblemError, match="no_jobs"):
            explain_by_jobs(client, pictures, str(output), settings=SETTINGS)
    assert not output.exists()


@pytest.mark.parametrize("content", ["[]", '{"a": 1}', "{"])
def test_a_note_that_is_torn_is_told(
    args: AppArgs, folder: Path, tmp_path: Path, content: str
) -> None:
    output = tmp_path / "output"
    output.mkdir()
    (output / NAME).write_text(content)
    with jobs_server(args) as server, pytest.raises(StorageError, match=NAME):
        run(server.url, folder, output)
