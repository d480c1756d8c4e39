"""What a job is, and what is told of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

from pydantic import BaseModel

from ier_ray.config import Settings
from ier_ray.data.schema import Domain
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.records import DESCRIBED
from ier_ray.serve.answers import Answer
from ier_ray.serve.errors import BUSY, Problem, RefusedError

JOBS = "/v1/explanations"
"""Path of all jobs."""

NO_STORAGE = RefusedError(BUSY, "no_storage", "the storage of jobs cannot be used", 10.0)

JobState = Literal["waiting", "running", "finished", "failed", "cancelled"]


class Refusal(Settings):
    """Why an image was not explained."""

    status: int
    error: str
    detail: str

    @classmethod
    def of(cls, refused: RefusedError) -> Refusal:
        """The record of a refusal."""
        return cls(status=refused.status, error=refused.error, detail=refused.detail)

    def raised(self) -> RefusedError:
        """The refusal."""
        return RefusedError(self.status, self.error, self.detail)


class JobSpec(Settings):
    """What a client has asked for; recorded when the job is submitted."""

    owner: str
    """Name of the client's token; empty where the service has none."""
    network: Domain
    settings: ExplainerSettings
    target: str | None
    uploads: tuple[str | Refusal, ...]
    """SHA-256 of each image file, or why it cannot be used."""


class Outcome(Settings):
    """How far the explanation of an image is."""

    state: JobState = "waiting"
    key: str | None = None
    """Of what is finished of the explanation; None before the first level."""
    level: int | None = None
    """The deepest level that is finished."""
    rows: int = 0
    """Masked images scored for it, in all attempts."""
    refusal: Refusal | None = None


class Job(Settings):
    """A job, and how far it is."""

    id: str
    spec: JobSpec
    state: JobState
    created: datetime
    ended: datetime | None
    images: tuple[Outcome, ...]


class JobImage(BaseModel):
    """One image of a job."""

    model_config = DESCRIBED

    state: JobState
    level: int | None
    """The deepest level of its tree that is finished; levels are final."""
    rows: int
    """Masked images scored for it so far."""
    explanation: str | None
    """Path of what is finished of its explanation; null before the first level."""
    error: Problem | None = None
    """Why it failed."""


class JobReply(BaseModel):
    """Explanations as a job."""

    model_config = DESCRIBED

    id: str
    state: JobState
    """failed: the service could not go on with it; where images alone have failed, they say why."""
    network: Domain
    settings: ExplainerSettings
    target: str | None
    """The class that was asked for; null: of each image the predicted one."""
    created: datetime
    ended: datetime | None
    images: list[JobImage]

    @classmethod
    def of(cls, job: Job) -> JobReply:
        """What a client is told of a job."""
        spec, path = job.spec, f"{JOBS}/{job.id}"
        images = []
        for place, each in enumerate(job.images):
            refusal = each.refusal
            problem = None
            if refusal is not None:
                problem = refusal.raised().problem(path, f"/images/{place}")
            images.append(
                JobImage(
                    state=each.state,
                    level=each.level,
                    rows=each.rows,
                    explanation=None if each.key is None else f"{path}/{place}",
                    error=problem,
                )
            )
        return cls(
            id=job.id,
            state=job.state,
            network=spec.network,
            settings=spec.settings,
            target=spec.target,
            created=job.created,
            ended=job.ended,
            images=images,
        )


class JobList(BaseModel):
    """Jobs of a client, the newest first."""

    model_config = DESCRIBED

    jobs: list[JobReply]


class Jobs(Protocol):
    """Whoever keeps the jobs, in this process or in another. Jobs of other owners do not exist."""

    async def submit(self, job: str, spec: JobSpec, images: list[bytes]) -> Job:
        """Record a job and begin it, unless it is known already.

        Args:
            job: its id.
            images: the files of its uploads.

        Raises:
            RefusedError: when too much waits, the id has another job, or nothing can be recorded.
        """

    async def known(self, job: str, spec: JobSpec) -> Job | None:
        """The job that has an id already; None if a new one may be submitted.

        Raises:
            RefusedError: as :meth:`submit`.
        """

    async def get(self, owner: str, job: str) -> Job:
        """A job.

        Raises:
            RefusedError: with status 404 when there is none.
        """

    async def recent(self, owner: str, most: int) -> list[Job]:
        """The newest jobs."""

    async def cancel(self, owner: str, job: str) -> Job:
        """Stop a job; one that has ended stays as it is.

        Raises:
            RefusedError: as :meth:`get`.
        """

    async def delete(self, owner: str, job: str) -> None:
        """Stop a job and forget it, with all that no other job needs.

        Raises:
            RefusedError: as :meth:`get`.
        """

    async def answer(self, owner: str, job: str, place: int) -> Answer:
        """What is finished of the explanation of an image.

        Raises:
            RefusedError: as :meth:`get`, with status 404 when there is no such image, and with 409
                when no level is finished yet or the image was refused.
        """
