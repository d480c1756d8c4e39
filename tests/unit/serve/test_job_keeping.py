"""Whoever keeps the jobs, in this process: what fails, what is lost, what is deleted."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.checkpoints import save_tiny
from support.interface import OwnExplainers
from support.job_runners import SETTINGS, keeper, spec_of
from support.pictures import picture, saved
from support.postgres import postgres

from ier_ray.data.images import decode_square
from ier_ray.errors import StorageError
from ier_ray.inference import Recognizer
from ier_ray.serve import job_routes
from ier_ray.serve.answers import Answer
from ier_ray.serve.api import Api
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.explanations import Explanations
from ier_ray.serve.jobs import database, upkeep
from ier_ray.serve.jobs.database import MOST_LATE, Calls, Exclusive
from ier_ray.serve.jobs.records import Job, JobSpec
from ier_ray.serve.schemas import AppArgs, JobSettings
from ier_ray.serve.service import Service

A, B, C = (letter * 32 for letter in "abc")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def args(checkpoint: str, tmp_path: Path) -> AppArgs:
    return AppArgs(checkpoint=checkpoint, jobs=JobSettings(storage=str(tmp_path / "jobs")))


def in_jobs(args: AppArgs, statement: str, *values: Any) -> None:
    """Change the database behind the keeper's back."""
    assert args.jobs is not None
    with contextlib.closing(sqlite3.connect(f"{args.jobs.storage}/jobs.sqlite")) as connection:
        connection.execute(statement, values)
        connection.commit()


def files(args: AppArgs, kind: str) -> set[str]:
    assert args.jobs is not None
    return {each.name for each in (Path(args.jobs.storage) / kind).iterdir()}


def pictured(seed: int) -> Callable[[Answer], bool]:
    """Whether an answer is of the picture of a seed."""
    pixels = decode_square(saved(picture(seed)), 32)
    return lambda answer: bool((answer.pixels == pixels).all())


def test_an_image_whose_explanation_breaks_fails_alone(args: AppArgs) -> None:
    is_bad = pictured(2)

    def change(answer: Answer) -> Answer:
        if is_bad(answer):
            raise ZeroDivisionError("a secret")
        return answer

    async def run() -> Job:
        async with keeper(args, change) as found:
            await found.submit(A, 1, 2, 3)
            job = await found.ended(A)
            assert found.runner.states() == {"waiting": 0, "running": 0}
            return job

    job = asyncio.run(run())
    assert (job.state, [each.state for each in job.images]) == (
        "finished",
        ["finished", "failed", "finished"],
    )
    refusal = job.images[1].refusal
    assert refusal is not None
    assert (refusal.status, "secret" in refusal.detail) == (500, False)


def test_a_job_that_nobody_runs_is_found_and_goes_on(
    args: AppArgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LOST_S", 0.3)
    seen: list[int] = []

    def change(answer: Answer) -> Answer:
        seen.append(answer.explanation.tree.depth)
        return answer

    async def run() -> list[Job]:
        async with keeper(args) as found:
            await found.submit(A, 1)
            first = await found.ended(A)
        # As after a start that was cut off: recorded, of nobody that is known, and nothing done.
        in_jobs(args, "DELETE FROM operation_outputs")
        in_jobs(args, "DELETE FROM workflow_output")
        in_jobs(
            args,
            "UPDATE workflow_status SET status = 'PENDING', executor_id = 'gone', "
            "completed_at = NULL",
        )
        async with keeper(args, change) as found:
            assert (await found.runner.get("", A)).state == "waiting"
            return [first, await found.ended(A)]

    first, second = asyncio.run(run())
    assert first.images == second.images
    assert seen == []  # what was finished is kept, whatever the database says


def test_results_outlive_other_weights_and_a_sweep(args: AppArgs) -> None:
    deep = SETTINGS.model_copy(update={"depth": 8})

    async def first() -> Job:
        reached, loop = asyncio.Event(), asyncio.get_running_loop()

        def change(answer: Answer) -> Answer:
            if answer.settings == deep and answer.explanation.tree.depth == 2:
                loop.call_soon(reached.set)
            return answer

        async with keeper(args, change) as found:
            await found.submit(A, 1)
            await found.ended(A)
            await found.submit(B, 2, settings=deep)
            await reached.wait()
            return await found.runner.cancel("", B)

    async def second() -> Job:
        async with keeper(args, weights="1" * 64) as found:
            await found.runner.upkeep.sweep()
            whole = await found.runner.answer("", A, 0)
            part = await found.runner.answer("", B, 0)
            assert (whole.complete, whole.explanation.tree.depth) == (True, 3)
            assert (part.complete, part.explanation.tree.depth >= 1) == (False, True)
            return await found.runner.get("", B)

    stopped = asyncio.run(first())
    assert (stopped.state, stopped.images[0].state) == ("cancelled", "cancelled")
    assert asyncio.run(second()).images == stopped.images
    assert files(args, "scores") == set()  # of weights that are served no longer


def test_a_row_that_cannot_be_read_spoils_nothing(args: AppArgs) -> None:
    async def run() -> None:
        async with keeper(args) as found:
            for job, seed in ((A, 1), (B, 2)):
                await found.submit(job, seed)
                await found.ended(job)
            in_jobs(
                args,
                "UPDATE workflow_input SET inputs = replace(inputs, 'uploads', 'pictures') "
                "WHERE workflow_uuid = ?",
                A,
            )
            assert [each.id for each in await found.runner.recent("", 5)] == [B]
            with pytest.raises(RefusedError) as refused:
                await found.runner.get("", A)
            assert refused.value.status == 404
            before = files(args, "explanations")
            await found.runner.upkeep.sweep()
            assert files(args, "explanations") == before  # it may need them
            assert (await found.runner.get("", B)).state == "finished"

    asyncio.run(run())


def test_what_is_submitted_during_a_sweep_is_not_swept(
    args: AppArgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with keeper(args) as found:
            await found.submit(A, 1)
            await found.ended(A)
            await found.runner.delete("", A)
            listed = Calls.all

            async def then_submit(calls: Calls, **wanted: Any) -> Any:
                async for status in listed(calls, **wanted):
                    yield status
                monkeypatch.setattr(Calls, "all", listed)
                await found.submit(B, 1)  # the same image: all of it is there
                await found.ended(B)

            monkeypatch.setattr(Calls, "all", then_submit)
            await found.runner.upkeep.sweep()
            assert (await found.runner.answer("", B, 0)).complete
            await found.runner.delete("", B)
            await found.runner.upkeep.sweep()
            assert files(args, "explanations") == files(args, "scores") == set()
            assert files(args, "uploads") == set()

    asyncio.run(run())


def test_a_submission_whose_client_leaves_is_whole_or_not_there(args: AppArgs) -> None:
    async def run() -> None:
        async with keeper(args) as found:
            for number in range(12):
                job = f"{number:032x}"
                submitting = asyncio.ensure_future(found.submit(job, number))
                await asyncio.sleep(0.004 * number)
                submitting.cancel()
                await asyncio.wait({submitting})
            await asyncio.sleep(0.5)
            known = await found.runner.recent("", 50)
            for each in known:
                assert (await found.ended(each.id)).state == "finished"
            assert found.runner.states() == {"waiting": 0, "running": 0}
            for number in range(12):
                job = f"{number:032x}"
                await found.submit(job, number)
                assert (await found.ended(job)).state == "finished"

    asyncio.run(run())


def test_the_same_id_at_the_same_time_is_one_job(args: AppArgs) -> None:
    async def run() -> None:
        async with keeper(args) as found:
            jobs = await asyncio.gather(*(found.submit(A, 1) for _ in range(5)))
            assert len({each.created for each in jobs}) == 1
            with pytest.raises(RefusedError) as refused:
                await found.submit(A, 2)
            assert refused.value.error == "key_used"

    asyncio.run(run())


def test_no_room_is_told_before_anything_is_recorded(args: AppArgs) -> None:
    assert args.jobs is not None
    small = args.jobs.model_copy(update={"max_waiting": 2})

    async def run() -> None:
        async with keeper(args.model_copy(update={"jobs": small})) as found:
            for refused_by in (found.runner.known(A, spec_of(1, 2, 3)), found.submit(A, 1, 2, 3)):
                with pytest.raises(RefusedError) as refused:
                    await refused_by
                assert refused.value.error == "busy"
            assert await found.runner.recent("", 5) == []
            assert found.runner.states()["waiting"] == 0

    asyncio.run(run())


class FullJobs:
    """Jobs for which there is no room."""

    async def known(self, job: str, spec: JobSpec) -> None:
        """As the protocol says."""
        raise RefusedError.busy("3 images of jobs wait")


def test_who_is_refused_does_not_pay(args: AppArgs, monkeypatch: pytest.MonkeyPatch) -> None:
    paid: list[float] = []

    async def charge(seconds: float, **_: Any) -> None:
        paid.append(seconds)

    monkeypatch.setattr(job_routes, "charge", charge)
    recognizer = Recognizer.load(args.checkpoint)
    explanations = Explanations(recognizer, args)
    jobs: Any = FullJobs()
    service = Service.of(recognizer, args, OwnExplainers(explanations), jobs)
    with TestClient(Api(lambda: service)) as client:
        reply = client.post("/v1/explanations", content=saved(picture(1)))
    explanations.stop()
    assert (reply.status_code, paid) == (503, [])


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_one_process_at_a_time_has_the_jobs(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_S", 0.3)
    with contextlib.ExitStack() as stack:
        url = None if kind == "sqlite" else f"{stack.enter_context(postgres())}jobs"
        settings = JobSettings(storage=str(tmp_path), database=url)
        first = Exclusive(settings)
        with pytest.raises(StorageError, match="another process keeps the jobs"):
            Exclusive(settings)
        first.end()
        Exclusive(settings).end()


def test_a_database_that_does_not_answer_is_not_asked_more_and_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "NO_DATABASE_S", 0.05)
    begun: list[int] = []

    async def run() -> None:
        calls, answers = Calls(), asyncio.Event()

        async def call(number: int) -> int:
            begun.append(number)
            await answers.wait()
            return number

        for number in range(3 * MOST_LATE):
            with pytest.raises(RefusedError) as refused:
                await calls(call(number))
            assert (refused.value.status, refused.value.error) == (503, "no_database")
        assert begun == list(range(MOST_LATE))
        answers.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await calls(call(99)) == 99

    asyncio.run(run())
