"""What is known of jobs: by the database, and of those that run by this process."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dbos import DBOS, WorkflowStatus

from ier_ray.serve.errors import RefusedError
from ier_ray.serve.jobs.database import Calls
from ier_ray.serve.jobs.records import Job, JobSpec, JobState, Outcome, Refusal

logger = logging.getLogger(__name__)

ANYBODY = "*"
"""Owner of the jobs of a service without tokens; no token has this name."""
ENDED = frozenset({"SUCCESS", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "CANCELLED"})
"""DBOS's names of the states in which a workflow has ended."""
CANCELLED, DELETED = "cancelled", "deleted"
"""Attributes of jobs in the database. Of those that were deleted, the rows go with the next sweep,
when nothing works on them any longer."""
NO_JOB = RefusedError(404, "no_job", "there is no such job, or it was deleted; submit it again")


@dataclass(eq=False)
class Active:
    """A job that runs in this process."""

    images: list[Outcome]
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, spec: JobSpec) -> Active:
        """A job that has not begun."""
        return cls(first_outcomes(spec))


@dataclass(frozen=True)
class Ledger:
    """All jobs.

    Attributes:
        so_far: how far the explanation of an upload is, of a job that does not run yet.
        calls: of the database.
        active: the jobs that run in this process, by their ids.
    """

    so_far: Callable[[JobSpec, str], Awaitable[Outcome]]
    calls: Calls = field(default_factory=Calls)
    active: dict[str, Active] = field(default_factory=dict)

    async def status(self, job: str) -> WorkflowStatus | None:
        """What is recorded of a job."""
        found = await self.calls(DBOS.list_workflows_async(workflow_ids=[job]))
        return found[0] if found else None

    async def owned(self, owner: str, job: str) -> WorkflowStatus:
        """The same of somebody's job.

        Raises:
            RefusedError: with status 404 when there is none.
        """
        status = await self.status(job)
        if (
            status is None
            or status.authenticated_user != user_of(owner)
            or has(status, DELETED)
            or readable_spec(status) is None
        ):
            raise NO_JOB
        return status

    async def recent(self, owner: str, most: int) -> list[Job]:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.recent`."""
        found: list[Job] = []
        for offset in itertools.count(step=most):
            page = await self.calls(
                DBOS.list_workflows_async(
                    user=user_of(owner), limit=most, offset=offset, sort_desc=True
                )
            )
            for status in page:
                if len(found) < most and not has(status, DELETED) and readable_spec(status):
                    found.append(await self.job(status))
            if len(page) < most or len(found) >= most:
                break
        return found

    async def job(self, status: WorkflowStatus) -> Job:
        """A job, and how far it is.

        Raises:
            ValueError: when another version of the service has recorded it.
        """
        spec = spec_of(status)
        images = await self.images(status, spec)
        state = state_of(status, images)
        if state == "cancelled":
            images = [cancelled(each) for each in images]
        ended = status.completed_at if status.status in ENDED else None
        return Job(
            id=status.workflow_id,
            spec=spec,
            state=state,
            created=time_of(status.created_at or 0),
            ended=None if ended is None else time_of(ended),
            images=tuple(images),
        )

    async def images(self, status: WorkflowStatus, spec: JobSpec) -> Sequence[Outcome]:
        """How far the images of a job are."""
        if status.output:
            return [Outcome.model_validate(each) for each in status.output]
        active = self.active.get(status.workflow_id)
        if active is not None:
            return list(active.images)
        outcomes = await self.resumed(spec)
        steps = await self.calls(DBOS.list_workflow_steps_async(status.workflow_id))
        for done in (each["output"] for each in steps):
            if done:
                outcomes[done["place"]] = Outcome.model_validate(done["outcome"])
        return outcomes

    async def resumed(self, spec: JobSpec) -> list[Outcome]:
        """Of the images of a job that was begun by another process, or not yet."""
        outcomes = first_outcomes(spec)
        for place, upload in enumerate(spec.uploads):
            if isinstance(upload, str):
                found = await self.so_far(spec, upload)
                outcomes[place] = found.model_copy(update={"state": "waiting"})
        return outcomes


def state_of(status: WorkflowStatus, images: Sequence[Outcome]) -> JobState:
    """Of a job: what was wanted of it, or else how far its images are."""
    states = {each.state for each in images}
    if status.status == "SUCCESS":
        return "cancelled" if "cancelled" in states else "finished"
    if status.status == "CANCELLED" or has(status, CANCELLED):
        return "cancelled"
    if status.status in ENDED:
        return "failed"
    return "waiting" if states <= {"waiting", "failed"} else "running"


def cancelled(image: Outcome) -> Outcome:
    """An image of a job that is cancelled."""
    is_over = image.state in ("finished", "failed")
    return image if is_over else image.model_copy(update={"state": "cancelled"})


def first_outcomes(spec: JobSpec) -> list[Outcome]:
    """Of the images of a job that has not begun."""
    return [
        Outcome(state="failed", refusal=each) if isinstance(each, Refusal) else Outcome()
        for each in spec.uploads
    ]


def spec_of(status: WorkflowStatus) -> JobSpec:
    """What was asked for.

    Raises:
        ValueError: when another version of the service has recorded it.
    """
    if status.input is None:
        raise ValueError(f"the workflow {status.workflow_id} has no input")
    return JobSpec.model_validate(status.input["args"][0])


def readable_spec(status: WorkflowStatus) -> JobSpec | None:
    """The same; None, and a line in the log, where it cannot be read."""
    try:
        return spec_of(status)
    except ValueError as error:
        logger.warning("the job %s cannot be read: %s", status.workflow_id, error)
        return None


def has(status: WorkflowStatus, attribute: str) -> bool:
    """Whether a job has one of the attributes."""
    return bool((status.attributes or {}).get(attribute))


def user_of(owner: str) -> str:
    """How the database names the owner of a job."""
    return owner or ANYBODY


def time_of(milliseconds: int) -> datetime:
    """A time of the database."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
