"""What is done about jobs beside running them: deleting what is over, finding what is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta

from dbos import DBOS, WorkflowStatus

from ier_ray.serve.errors import RefusedError
from ier_ray.serve.jobs.ledger import DELETED, ENDED, Ledger, has, readable_spec, time_of
from ier_ray.serve.jobs.records import JobSpec
from ier_ray.serve.jobs.store import JobStore

logger = logging.getLogger(__name__)

SWEEP_S, LEAST_S = 3600.0, 10.0
"""Most seconds between two searches for what is kept no longer; least, when a job is deleted."""
LOST_S = 60.0
"""Seconds between two searches for jobs that nobody runs."""


class Upkeep:
    """Keeps the jobs in order. To be made in an event loop.

    Args:
        keep_days: days after which a job that has ended is deleted.
    """

    def __init__(self, ledger: Ledger, store: JobStore, keep_days: float) -> None:
        self._ledger, self._store = ledger, store
        self._kept = timedelta(days=keep_days)
        self._deleting = asyncio.Lock()
        self._submitted: dict[str, set[str]] = {}
        self._recorded: set[str] = set()
        self._called = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each()) for each in (self._sweep_forever, self._find_lost)]

    def stop(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()

    def sweep_soon(self) -> None:
        """Look for what is over within seconds."""
        self._called.set()

    async def submitted(self, job: str, spec: JobSpec) -> None:
        """Keep a job's files that are there, or will be: the database does not know it yet."""
        async with self._deleting:
            self._submitted[job] = self._store.names_of(spec)

    def recorded(self, job: str) -> None:
        """The database knows a job, or there will be none."""
        self._recorded.add(job)

    async def sweep(self) -> None:
        """Delete jobs that ended long ago or were deleted, and all files that no job needs."""
        oldest = datetime.now(UTC) - self._kept
        while self._recorded:  # those that are recorded from here on may not be found below
            self._submitted.pop(self._recorded.pop(), None)
        kept = await asyncio.to_thread(self._store.kept)
        wanted: set[str] = set()
        over: list[str] = []
        are_known = True
        async for status in self._ledger.calls.all():
            if self._is_over(status, oldest):
                over.append(status.workflow_id)
                continue
            spec = readable_spec(status)
            if spec is None:
                are_known = False
            else:
                wanted |= await self._wanted_by(status, spec)
        for job in over:
            await self._ledger.calls(DBOS.delete_workflow_async(job))
        for name, location in kept if are_known else ():
            async with self._deleting:
                if not any(name in each for each in (wanted, *self._submitted.values())):
                    await asyncio.to_thread(self._store.delete, location)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(LEAST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self._called.wait()
            self._called.clear()
            try:
                await self.sweep()
            except Exception:  # tried again in an hour
                logger.exception("what jobs keep no longer could not be deleted")

    async def _find_lost(self) -> None:
        """Run jobs that are recorded and that nobody runs: their start, or their end, was cut off.

        Those that were not run at two looks are: between a job's end and its record lies a moment.
        """
        before: set[str] = set()
        while True:
            await asyncio.sleep(LOST_S)
            try:
                pending = self._ledger.calls.all(status="PENDING")
                found = {each.workflow_id async for each in pending} - self._ledger.active.keys()
                for job in found & before:
                    logger.warning("nobody runs the job %s: it is begun again", job)
                    await self._ledger.calls(DBOS.resume_workflow_async(job))
                before = found - before
            except RefusedError as refused:
                logger.warning("lost jobs cannot be looked for: %s", refused.detail)

    async def _wanted_by(self, status: WorkflowStatus, spec: JobSpec) -> set[str]:
        """What of the store's files a job needs."""
        wanted = await asyncio.to_thread(self._store.names_of, spec)
        if status.status in ENDED:
            wanted -= set(map(str, spec.uploads))
        images = await self._ledger.images(status, spec)
        return wanted | {each.key for each in images if each.key is not None}

    def _is_over(self, status: WorkflowStatus, oldest: datetime) -> bool:
        """Whether a job ended too long ago, or was deleted and nothing works on it any longer."""
        if status.status not in ENDED:
            return False
        if status.completed_at is not None and time_of(status.completed_at) <= oldest:
            return True
        return has(status, DELETED) and status.workflow_id not in self._ledger.active
