"""The database of jobs: how DBOS is started with it, and what its records mean."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, WorkflowStatus
from dbos import error as dbos_errors

from ier_ray import storage
from ier_ray.serve.errors import BUSY, RefusedError
from ier_ray.serve.jobs.records import JobSpec, JobState
from ier_ray.serve.schemas import JobSettings

NAME = "ier_ray"
VERSION = "1"
"""Of the workflow: jobs of another version are not continued."""
SQLITE = "sqlite:///"
ANYBODY = "*"
"""Owner of the jobs of a service without tokens; no token has this name."""
NO_DATABASE_S = 10.0
"""Seconds without an answer of the database after which a client is told so."""
KEPT, DELETED = {"kept": True}, {"kept": False}
"""Attributes of jobs in the database. Of those that were deleted, the rows go with the next sweep,
when nothing works on them any longer."""
STATES: dict[str, JobState] = {
    "SUCCESS": "finished",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}
"""Of workflows that have ended, by DBOS's names."""
CANCELLED = (
    dbos_errors.DBOSAwaitedWorkflowCancelledError,
    dbos_errors.DBOSWorkflowCancelledError,
)


def launch(settings: JobSettings) -> None:
    """Start DBOS in this process, which goes on with the jobs of the last one."""
    config: DBOSConfig = {
        "name": NAME,
        "system_database_url": database_of(settings),
        "application_version": VERSION,
        "executor_id": "jobs",
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.logger.addFilter(is_no_cancellation)


def database_of(settings: JobSettings) -> str:
    """The URL of the database; SQLite's directory is made."""
    url = settings.database or f"{SQLITE}{storage.absolute(settings.storage)}/jobs.sqlite"
    if url.startswith(SQLITE):
        Path(url.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    return url


def user_of(owner: str) -> str:
    """How the database names the owner of a job."""
    return owner or ANYBODY


def spec_of(status: WorkflowStatus) -> JobSpec:
    """What was asked for."""
    if status.input is None:
        raise TypeError(f"the workflow {status.workflow_id} has no input")
    return JobSpec.model_validate(status.input["args"][0])


def time_of(milliseconds: int) -> datetime:
    """A time of the database."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def is_no_cancellation(record: logging.LogRecord) -> bool:
    """Whether a line of DBOS's log tells of more than a job that somebody has stopped."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, CANCELLED)


@contextlib.asynccontextmanager
async def database_answers() -> AsyncIterator[None]:
    """Refuse when the database does not answer; DBOS itself would wait for it.

    Raises:
        RefusedError: with status 503.
    """
    try:
        async with asyncio.timeout(NO_DATABASE_S):
            yield
    except TimeoutError as error:
        raise RefusedError(
            BUSY, "no_database", "the jobs' database does not answer", 10.0
        ) from error
