"""Jobs as durable workflows of DBOS: each is recorded in a database before it is begun.

An image is a step of its job's workflow. After a crash DBOS runs the workflow again: steps that
have ended are not repeated, and :mod:`ier_ray.serve.jobs.work` goes on with the others. A job that
is cancelled ends as others do, with what is finished of its images.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from typing import Any

from dbos import (
    DBOS,
    DBOSConfiguredInstance,
    DBOSContextSetAuth,
    SetWorkflowAttributes,
    SetWorkflowID,
    StepReservation,
)

from ier_ray import storage
from ier_ray.errors import StorageError
from ier_ray.serve.answers import Answer, Explainers
from ier_ray.serve.disconnection import unless
from ier_ray.serve.errors import INTERNAL, UNPROCESSABLE, RefusedError
from ier_ray.serve.jobs.database import Exclusive, launch
from ier_ray.serve.jobs.ledger import (
    CANCELLED,
    DELETED,
    ENDED,
    Active,
    Ledger,
    has,
    readable_spec,
    user_of,
)
from ier_ray.serve.jobs.records import NO_STORAGE, Job, JobSpec, JobState, Outcome, Refusal
from ier_ray.serve.jobs.store import JobStore
from ier_ray.serve.jobs.upkeep import Upkeep
from ier_ray.serve.jobs.work import JobExplainer
from ier_ray.serve.schemas import JobSettings

logger = logging.getLogger(__name__)

STOP_S = 5.0
"""Most seconds that a client waits until what it has cancelled has stopped."""
NOT_THERE = 409
"""Status of what a job has not, or not yet."""

Told = Callable[[Mapping[JobState, int], JobState | None], None]


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
        StorageError: when the storage cannot be written, or another process has the jobs.
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
        self._ledger = Ledger(self._explainer.so_far)
        self._room = asyncio.Semaphore(settings.at_once)
        self._submitting: weakref.WeakValueDictionary[str, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )
        storage.check_writable(settings.storage, directory=True)
        self._exclusive = Exclusive(settings)
        launch(settings)
        self.upkeep = Upkeep(self._ledger, self._store, settings.keep_days)

    def stop(self) -> None:
        """Stop; jobs that run go on where the next runner begins."""
        self.upkeep.stop()
        DBOS.destroy()
        self._exclusive.end()

    async def submit(self, job: str, spec: JobSpec, images: list[bytes]) -> Job:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.submit`."""
        async with self._submitting.setdefault(job, asyncio.Lock()):
            known = await self.known(job, spec)
            if known is not None:
                return known
            self._ledger.active[job] = Active.of(spec)
            try:
                await self.upkeep.submitted(job, spec)
                with storage_works():
                    for encoded in images:
                        await asyncio.to_thread(self._store.keep_upload, encoded)
            except BaseException:
                self._forget(job)
                raise
            await self._ledger.calls(self._start(job, spec))
        return await self.get(spec.owner, job)

    async def known(self, job: str, spec: JobSpec) -> Job | None:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.known`."""
        status = await self._ledger.status(job)
        if status is not None:
            if has(status, DELETED) or readable_spec(status) != spec:
                raise RefusedError(
                    UNPROCESSABLE,
                    "key_used",
                    "Idempotency-Key: it has another job, or one that was deleted; choose a new "
                    "key",
                )
            return await self._ledger.job(status)
        waiting = self.states()["waiting"]
        if waiting + len(spec.uploads) > self._settings.max_waiting:
            raise RefusedError.busy(f"{waiting} images of jobs wait", 60.0)
        return None

    async def get(self, owner: str, job: str) -> Job:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.get`."""
        return await self._ledger.job(await self._ledger.owned(owner, job))

    async def recent(self, owner: str, most: int) -> list[Job]:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.recent`."""
        return await self._ledger.recent(owner, most)

    async def cancel(self, owner: str, job: str) -> Job:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.cancel`."""
        await self._stop(owner, job, CANCELLED)
        return await self.get(owner, job)

    async def delete(self, owner: str, job: str) -> None:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.delete`."""
        await self._stop(owner, job, DELETED)
        self.upkeep.sweep_soon()

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
        images = [each.state for job in self._ledger.active.values() for each in job.images]
        return {state: images.count(state) for state in ("waiting", "running")}

    @DBOS.workflow(name="explanations", max_recovery_attempts=None)
    async def run(self, recorded: dict[str, Any]) -> list[dict[str, Any]]:
        """The job of a spec; the outcomes of its images."""
        spec, identity = JobSpec.model_validate(recorded), DBOS.workflow_id or ""
        active = self._ledger.active.get(identity)
        if active is None:
            active = self._ledger.active[identity] = Active(await self._ledger.resumed(spec))
        self._told(self.states(), None)
        turns = asyncio.Semaphore(self._settings.at_once)  # others' images come between
        try:
            if await self._is_stopped(identity):
                active.cancelled.set()
            places = [place for place, each in enumerate(spec.uploads) if isinstance(each, str)]
            steps = [(place, DBOS.reserve_step()) for place in places]  # the same at each attempt
            async with asyncio.TaskGroup() as group:
                for place, step in steps:
                    group.create_task(self._step(active, spec, place, step, turns))
            return [each.model_dump(mode="json") for each in active.images]
        finally:
            self._ledger.active.pop(identity, None)
            active.ended.set()
            self._told(self.states(), None)

    async def _is_stopped(self, job: str) -> bool:
        """Whether somebody has stopped a job before it was begun here.

        Asked for beside the workflow, whose calls of the database are recorded as its steps; it
        waits as long as the database does not answer.
        """
        asked = DBOS.list_workflows_async(workflow_ids=[job], load_input=False, load_output=False)
        found = await asyncio.get_running_loop().create_task(asked, context=Context())
        return any(has(each, CANCELLED) or has(each, DELETED) for each in found)

    async def _start(self, job: str, spec: JobSpec) -> None:
        """Record a job and begin it."""
        try:
            with (
                SetWorkflowID(job),
                DBOSContextSetAuth(user_of(spec.owner), []),
                SetWorkflowAttributes({CANCELLED: False, DELETED: False}),
            ):
                await DBOS.start_workflow_async(self.run, spec.model_dump(mode="json"))
        except BaseException:
            self._forget(job)
            raise
        self.upkeep.recorded(job)

    def _forget(self, job: str) -> None:
        """There will be no such job."""
        self._ledger.active.pop(job, None)
        self.upkeep.recorded(job)

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
            found = await step.run_async(None, self._explained, active, spec, place)
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
        except Exception:  # it is this image's alone
            logger.exception("the explanation of an image of a job has failed")
            refusal = Refusal(status=500, error="internal", detail=INTERNAL)
            outcome = Outcome(state="failed", refusal=refusal)
        return {"place": place, "outcome": outcome.model_dump(mode="json")}

    async def _stop(self, owner: str, job: str, attribute: str) -> None:
        """Stop a job that runs, and record why."""
        status = await self._ledger.owned(owner, job)
        active = self._ledger.active.get(job)
        if active is not None:  # even if the database does not answer
            active.cancelled.set()
        if attribute == DELETED or status.status not in ENDED:
            call = DBOS.update_workflow_attributes_async(job, {attribute: True}, merge=True)
            await self._ledger.calls(call)
        if active is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await active.ended.wait()


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
        raise NO_STORAGE from error
