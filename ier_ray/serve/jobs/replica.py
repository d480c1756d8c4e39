"""The deployment that keeps the jobs, and how an ingress replica asks it."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from ier_ray.serve.answers import Answer
from ier_ray.serve.delegation import ExplainerReplicas
from ier_ray.serve.errors import BUSY, RefusedError
from ier_ray.serve.jobs.records import Job, JobSpec
from ier_ray.serve.jobs.runner import JobRunner
from ier_ray.serve.metrics import JobMetrics
from ier_ray.serve.request_logs import log_to_serve
from ier_ray.serve.schemas import AppArgs

OVERDUE_S = 30.0
"""Seconds within which the keeper must answer; it may just be started."""


@serve.deployment(
    num_replicas=1,  # one process at a time has the jobs of a database
    ray_actor_options={"num_cpus": 0.1},
    max_ongoing_requests=64,
    max_queued_requests=256,
    health_check_period_s=5,
    graceful_shutdown_wait_loop_s=0.5,
    graceful_shutdown_timeout_s=5,  # jobs go on in the next replica
)
class JobKeeper:
    """Records jobs and runs them, by calls to the explainers."""

    def __init__(self, args: AppArgs, explainer: DeploymentHandle) -> None:
        self._runner: JobRunner | None = None  # until it is made, which may fail
        self._metrics = JobMetrics()
        if args.jobs is None or args.weights_sha256 is None:
            raise ValueError("there is no keeper without settings of jobs and a hash of weights")
        log_to_serve()
        explainers = ExplainerReplicas(explainer, most=args.jobs.at_once)
        self._runner = JobRunner(
            args.jobs,
            explainers,
            args.weights_sha256,
            adjust_prior=args.adjust_prior,
            told=self._metrics.told,
        )

    def __del__(self) -> None:
        if self._runner is not None:
            self._runner.stop()

    async def check_health(self) -> None:
        """Tell again what waits: Ray forgets a gauge that is not set for two of its intervals."""
        if self._runner is not None:
            self._metrics.told(self._runner.states(), None)

    async def call(self, method: str, *arguments: Any) -> Any:
        """A method of :class:`ier_ray.serve.jobs.records.Jobs`; a refusal is returned."""
        try:
            return await getattr(self._runner, method)(*arguments)
        except RefusedError as refused:
            return refused


class JobsReplica:
    """The jobs, kept by the replica of the other deployment."""

    def __init__(self, keeper: DeploymentHandle) -> None:
        self._keeper = keeper

    async def submit(self, job: str, spec: JobSpec, images: list[bytes]) -> Job:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.submit`."""
        found: Job = await self._call("submit", job, spec, images)
        return found

    async def known(self, job: str, spec: JobSpec) -> Job | None:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.known`."""
        found: Job | None = await self._call("known", job, spec)
        return found

    async def get(self, owner: str, job: str) -> Job:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.get`."""
        found: Job = await self._call("get", owner, job)
        return found

    async def recent(self, owner: str, most: int) -> list[Job]:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.recent`."""
        found: list[Job] = await self._call("recent", owner, most)
        return found

    async def cancel(self, owner: str, job: str) -> Job:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.cancel`."""
        found: Job = await self._call("cancel", owner, job)
        return found

    async def delete(self, owner: str, job: str) -> None:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.delete`."""
        await self._call("delete", owner, job)

    async def answer(self, owner: str, job: str, place: int) -> Answer:
        """As :meth:`ier_ray.serve.jobs.records.Jobs.answer`."""
        found: Answer = await self._call("answer", owner, job, place)
        return found

    async def _call(self, method: str, *arguments: Any) -> Any:
        """What the keeper replies.

        Raises:
            RefusedError: of the keeper, or with status 503 when there is none.
        """
        response = self._keeper.call.remote(method, *arguments)
        try:
            async with asyncio.timeout(OVERDUE_S):
                found = await response
        except (TimeoutError, RayError, BackPressureError) as error:
            response.cancel()
            raise RefusedError(BUSY, "no_keeper", "the keeper of jobs is not there", 5.0) from error
        if isinstance(found, RefusedError):
            raise found
        return found
