"""Jobs as durable workflows of DBOS: each is recorded in a database before it is begun.

An image is a step of its job's workflow. After a crash DBOS runs the workflow again: steps that
have ended are not repeated, and :mod:`ier_ray.serve.jobs.work` goes on with the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dbos import (
    DBOS,
    DBOSConfiguredInstance,
    DBOSContextSetAuth,
    SetWorkflowAttributes,
    SetWorkflowID,
    StepOptions,
    StepReservation,
    WorkflowStatus,
)

from ier_ray import storage
from ier_ray.errors import StorageError
from ier_ray.serve.answers import Answer, Explainers
from ier_ray.serve.disconnection import unless
from ier_ray.serve.errors import BUSY, UNPROCESSABLE, RefusedError
from ier_ray.serve.jobs.database import (
    DELETED,
    KEPT,
    STATES,
    database_answers,
    launch,
    spec_of,
    time_of,
    user_of,
)
from ier_ray.serve.jobs.records import Job, JobSpec, JobState, Outcome, Refusal
from ier_ray.serve.jobs.store import JobStore
from ier_ray.serve.jobs.work import JobExplainer, outcome_of
from ier_ray.serve.schemas import JobSettings

logger = logging.getLogger(__name__)

SWEEP_S, LEAST_S = 3600.0, 10.0
"""Most seconds between two searches for what is kept no longer; least, when a job is deleted."""
STORING: StepOptions = {
    "retries_allowed": True,
    "interval_seconds": 1.0,
    "max_attempts": 8,
    "backoff_rate": 2.0,
}
"""How long a store that fails is tried again: about two minutes."""
NOT_THERE = 409
"""Status of what a job has not, or not yet."""
NO_JOB = RefusedError(404, "no_job", "there is no such job, or it was deleted; submit it again")


Told = Callable[[Mapping[JobState, int], JobState | None], None]


@dataclass(eq=False)
class Active:
    """A job that runs in this process."""

    images: list[Outcome]
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


@DBOS.dbos_class()
class JobRunner(DBOSConfiguredInstance):
    """Keeps the jobs and runs them. One process at a time has the jobs of a database.

    To be made in an event loop, which runs them.

    Args:
        settings: of jobs.
        explainers: whoever explains.
        weights_sha256, adjust_prior: as of :class:`ier_ray.serve.jobs.store.JobStore`.
        told: hears how many images wait and run whenever that changes, and how one has ended.

    Raises:
        StorageError: when the storage cannot be written.
    """

    def __init__(
        self,
        settings: JobSettings,
        explainers: Explainers,
        weights_sha256: str,
        *,
        adjust_prior: bool,
        told: Told = lambda *_: None,
    ) -> None:
        super().__init__("jobs")
        self._settings, self._told = settings, told
        self._store = JobStore(settings.storage, weights_sha256, adjust_prior)
        self._explainer = JobExplainer(explainers, self._store)
        self._active: dict[str, Active] = {}
        self._room = asyncio.Semaphore(settings.at_once)
        self._recording = asyncio.Lock()
        self._wanted = asyncio.Event()
        storage.check_writable(settings.storage, directory=True)
        launch(settings)
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep_forever())

    def stop(self) -> None:
        """Stop; jobs that run go on where the next runner begins."""
        self._sweeping.cancel()
        DBOS.destroy()

    async def submit(self, job: str, spec: JobSpec, images: list[bytes]) -> Job:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.submit`."""
        async with self._recording:
            known = await self._status(job)
            if known is not None:
                return await self._same(known, spec)
            waiting = self.states()["waiting"]
            if waiting + len(images) > self._settings.max_waiting:
                raise RefusedError.busy(f"{waiting} images of jobs wait", 60.0)
            with storage_works():
                for encoded in images:
                    await asyncio.to_thread(self._store.keep_upload, encoded)
            self._active[job] = Active(first_outcomes(spec))
            with (
                SetWorkflowID(job),
                DBOSContextSetAuth(user_of(spec.owner), []),
                SetWorkflowAttributes(KEPT),
            ):
                try:
                    async with database_answers():
                        await DBOS.start_workflow_async(self.run, spec.model_dump(mode="json"))
                except BaseException:
                    self._active.pop(job, None)
                    raise
        return await self.get(spec.owner, job)

    async def get(self, owner: str, job: str) -> Job:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.get`."""
        return await self._job(await self._owned(owner, job))

    async def recent(self, owner: str, most: int) -> list[Job]:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.recent`."""
        found: list[WorkflowStatus] = []
        for offset in itertools.count(step=most):
            async with database_answers():
                page = await DBOS.list_workflows_async(
                    user=user_of(owner), limit=most, offset=offset, sort_desc=True
                )
            found += [each for each in page if each.attributes != DELETED]
            if len(page) < most or len(found) >= most:
                break
        return [await self._job(each) for each in found[:most]]

    async def cancel(self, owner: str, job: str) -> Job:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.cancel`."""
        status = await self._owned(owner, job)
        try:
            if status.status not in STATES:
                async with database_answers():
                    await DBOS.cancel_workflow_async(job)
        finally:  # the database may have it though its reply is late
            if job in self._active:
                self._active[job].cancelled.set()
        return await self.get(owner, job)

    async def delete(self, owner: str, job: str) -> None:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.delete`."""
        await self.cancel(owner, job)
        async with database_answers():
            await DBOS.update_workflow_attributes_async(job, DELETED)
        self._wanted.set()

    async def answer(self, owner: str, job: str, place: int) -> Answer:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.answer`."""
        images = (await self.get(owner, job)).images
        if place >= len(images):
            raise RefusedError(404, "no_image", f"the job has {len(images)} images, counted from 0")
        outcome = images[place]
        if (refusal := outcome.refusal) is not None:
            raise RefusedError(NOT_THERE, refusal.error, refusal.detail)
        found = None
        if outcome.key is not None:
            with storage_works():
                found = await asyncio.to_thread(self._store.answer, outcome.key)
        if found is None:
            raise RefusedError(NOT_THERE, "no_level", "no level of it is finished yet", 1.0)
        return found

    def states(self) -> dict[JobState, int]:
        """Images of the jobs that run, by their states."""
        images = [each.state for job in self._active.values() for each in job.images]
        return {state: images.count(state) for state in ("waiting", "running")}

    @DBOS.workflow(name="explanations", max_recovery_attempts=None)
    async def run(self, recorded: dict[str, Any]) -> list[dict[str, Any]]:
        """The job of a spec; the outcomes of its images."""
        spec, identity = JobSpec.model_validate(recorded), DBOS.workflow_id or ""
        active = self._active.setdefault(identity, Active(first_outcomes(spec)))
        self._told(self.states(), None)
        turns = asyncio.Semaphore(self._settings.at_once)  # others' images come between
        try:
            places = [place for place, each in enumerate(spec.uploads) if isinstance(each, str)]
            steps = [(place, DBOS.reserve_step()) for place in places]  # the same at each attempt
            await asyncio.gather(*(self._step(active, spec, *each, turns) for each in steps))
            return [each.model_dump(mode="json") for each in active.images]
        finally:
            self._active.pop(identity, None)

    async def _step(
        self,
        active: Active,
        spec: JobSpec,
        place: int,
        step: StepReservation,
        turns: asyncio.Semaphore,
    ) -> None:
        """Explain an image, unless that was done before."""
        async with turns:
            found = await step.run_async(STORING, self._explained, active, spec, place)
        active.images[place] = Outcome.model_validate(found["outcome"])
        self._told(self.states(), active.images[place].state)

    async def _explained(self, active: Active, spec: JobSpec, place: int) -> dict[str, Any]:
        """The outcome of an image."""
        upload = spec.uploads[place]
        if not isinstance(upload, str):
            raise TypeError(f"image {place} was refused")

        def notify(outcome: Outcome) -> None:
            active.images[place] = outcome

        async def explained() -> Outcome:
            async with self._room:
                notify(active.images[place].model_copy(update={"state": "running"}))
                self._told(self.states(), None)
                return await self._explainer.explained(spec, upload, notify)

        try:
            outcome = await unless(active.cancelled.wait(), explained())
        except asyncio.CancelledError:
            if not active.cancelled.is_set():  # the process ends
                raise
            outcome = active.images[place].model_copy(update={"state": "cancelled"})
        return {"place": place, "outcome": outcome.model_dump(mode="json")}

    async def _status(self, job: str) -> WorkflowStatus | None:
        async with database_answers():
            found = await DBOS.list_workflows_async(workflow_ids=[job])
        return found[0] if found else None

    async def _owned(self, owner: str, job: str) -> WorkflowStatus:
        status = await self._status(job)
        if (
            status is None
            or status.authenticated_user != user_of(owner)
            or status.attributes == DELETED
        ):
            raise NO_JOB
        return status

    async def _same(self, status: WorkflowStatus, spec: JobSpec) -> Job:
        """The job that has a key already.

        Raises:
            RefusedError: when it is another job.
        """
        if spec_of(status) != spec or status.attributes == DELETED:
            raise RefusedError(
                UNPROCESSABLE,
                "key_used",
                "Idempotency-Key: it has another job, or one that was deleted; choose a new key",
            )
        return await self._job(status)

    async def _job(self, status: WorkflowStatus) -> Job:
        spec, state = spec_of(status), STATES.get(status.status)
        images = await self._images(status, spec, state)
        if state is None:
            state = "waiting" if all(each.state == "waiting" for each in images) else "running"
        ended = status.completed_at if status.status in STATES else None
        return Job(
            id=status.workflow_id,
            spec=spec,
            state=state,
            created=time_of(status.created_at or 0),
            ended=None if ended is None else time_of(ended),
            images=tuple(images),
        )

    async def _images(
        self, status: WorkflowStatus, spec: JobSpec, ended: JobState | None
    ) -> Sequence[Outcome]:
        active = self._active.get(status.workflow_id)
        if ended is None and active is not None:
            return list(active.images)
        if ended == "finished":
            return [Outcome.model_validate(each) for each in status.output or ()]
        async with database_answers():
            steps = await DBOS.list_workflow_steps_async(status.workflow_id)
        done = {
            each["output"]["place"]: each["output"]["outcome"] for each in steps if each["output"]
        }
        with storage_works():
            return await asyncio.to_thread(self._outcomes, spec, done, ended)

    def _outcomes(
        self, spec: JobSpec, done: Mapping[int, Any], ended: JobState | None
    ) -> list[Outcome]:
        """Of a job that does not run here; of images that it has not ended with, what is kept."""
        outcomes = first_outcomes(spec)
        for place, upload in enumerate(spec.uploads):
            if place in done:
                outcomes[place] = Outcome.model_validate(done[place])
            elif isinstance(upload, str):
                key = self._store.key(spec, upload)
                kept = self._store.answer(key)
                state: JobState = "waiting" if ended is None else "cancelled"
                found = Outcome() if kept is None else outcome_of(key, kept)
                outcomes[place] = found.model_copy(update={"state": state})
        return outcomes

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(LEAST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.sweep()
            except Exception:  # tried again in an hour
                logger.exception("what jobs keep no longer could not be deleted")

    async def sweep(self) -> None:
        """Delete jobs that ended long ago or were deleted, and all files that no job needs."""
        oldest = datetime.now(UTC) - timedelta(days=self._settings.keep_days)
        async with self._recording:
            kept: list[WorkflowStatus] = []
            over: list[str] = []
            for status in await DBOS.list_workflows_async():
                if self._is_over(status, oldest):
                    over.append(status.workflow_id)
                else:
                    kept.append(status)
            if over:
                await DBOS.delete_workflows_async(over)
            uploads: set[str] = set()
            keys: set[str] = set()
            for status in kept:
                spec = spec_of(status)
                found = [each for each in spec.uploads if isinstance(each, str)]
                if status.status not in STATES:
                    uploads.update(found)
                keys.update(self._store.key(spec, each) for each in found)
                keys.update(self._store.scores_key(spec, each) for each in found)
                if status.output:
                    keys.update(str(each["key"]) for each in status.output)
            await asyncio.to_thread(self._store.sweep, uploads, keys)

    def _is_over(self, status: WorkflowStatus, oldest: datetime) -> bool:
        """Whether a job ended too long ago, or was deleted and nothing works on it any longer."""
        if status.status not in STATES:
            return False
        if status.completed_at is not None and time_of(status.completed_at) <= oldest:
            return True
        return status.attributes == DELETED and status.workflow_id not in self._active


def first_outcomes(spec: JobSpec) -> list[Outcome]:
    """Of the images of a job that has not begun."""
    return [
        Outcome(state="failed", refusal=each) if isinstance(each, Refusal) else Outcome()
        for each in spec.uploads
    ]


@contextlib.contextmanager
def storage_works() -> Iterator[None]:
    """Refuse when the storage cannot be used.

    Raises:
        RefusedError: with status 503.
    """
    try:
        yield
    except StorageError as error:
        logger.warning("the storage of jobs cannot be used: %s", error)
        detail = "the storage of jobs cannot be used"
        raise RefusedError(BUSY, "no_storage", detail, 10.0) from error
