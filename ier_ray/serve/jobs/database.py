"""The database of jobs: how DBOS is started with it, who may use it, and how it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import filelock
import sqlalchemy
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, WorkflowStatus

from ier_ray import storage
from ier_ray.errors import StorageError
from ier_ray.serve.errors import BUSY, RefusedError
from ier_ray.serve.schemas import JobSettings

logger = logging.getLogger(__name__)

NAME = "ier_ray"
VERSION = "1"
"""Of the workflow: jobs of another version are not continued."""
SQLITE = "sqlite:///"
NO_DATABASE_S = 10.0
"""Seconds without an answer of the database after which a client is told so."""
MOST_LATE = 8
"""Calls of the database that go on after that; with so many, nothing more is asked."""
PAGE = 100
"""Jobs that are read at a time."""
LOCK = 0x1E2_0B5
"""Number of PostgreSQL's advisory lock that whoever keeps the jobs has."""
LOCK_S, RETRY_S = 60.0, 0.2
"""Seconds to wait until the last keeper has ended; seconds between two attempts."""

Result = TypeVar("Result")


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


def database_of(settings: JobSettings) -> str:
    """The URL of the database; SQLite's directory is made."""
    url = settings.database or f"{SQLITE}{storage.absolute(settings.storage)}/jobs.sqlite"
    if url.startswith(SQLITE):
        Path(url.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    return url


class Exclusive:
    """The right to keep the jobs of a database: one process at a time has it.

    It ends with the process, however that ends. A keeper that is replaced may still be about to
    end, so a new one waits for a minute.

    Raises:
        StorageError: when another process keeps it, or the database cannot be reached.
    """

    def __init__(self, settings: JobSettings) -> None:
        url = database_of(settings)
        self._file: filelock.FileLock | None = None
        self._connection: sqlalchemy.Connection | None = None
        if url.startswith(SQLITE):
            self._file = filelock.FileLock(f"{url.removeprefix(SQLITE)}.lock")
            with contextlib.suppress(filelock.Timeout):
                self._file.acquire(timeout=LOCK_S)
            is_ours = self._file.is_locked
        else:
            is_ours = self._connect(url)
        if not is_ours:
            raise StorageError(
                f"another process keeps the jobs of {sqlalchemy.make_url(url)!r}: give each "
                f"service a database of its own (jobs.database)"
            )

    def _connect(self, url: str) -> bool:
        """Whether PostgreSQL gives the lock to the connection."""
        try:
            DBOS.migrate(url)  # makes the database, if there is none
            engine = sqlalchemy.create_engine(
                sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"),
                isolation_level="AUTOCOMMIT",
            )
            self._connection = engine.connect()
            give_up = time.monotonic() + LOCK_S
            asked = sqlalchemy.text(f"SELECT pg_try_advisory_lock({LOCK})")
            while not (is_ours := bool(self._connection.execute(asked).scalar())):
                if time.monotonic() > give_up:
                    self.end()
                    break
                time.sleep(RETRY_S)
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise StorageError(f"the jobs' database cannot be used: {error}") from error
        return is_ours

    def end(self) -> None:
        """Leave it to others."""
        if self._file is not None:
            self._file.release()
        if self._connection is not None:
            self._connection.close()
            self._connection.engine.dispose()


class Calls:
    """Calls of the database, which DBOS itself would wait for without end.

    A call that is late goes on, so that what it records is recorded once and not half.
    """

    def __init__(self) -> None:
        self._late: set[asyncio.Task[Any]] = set()

    async def __call__(self, call: Coroutine[Any, Any, Result]) -> Result:
        """The result of a call.

        Raises:
            RefusedError: with status 503 when it is late, or many are.
        """
        late = RefusedError(BUSY, "no_database", "the jobs' database does not answer", 10.0)
        if len(self._late) >= MOST_LATE:
            call.close()
            raise late
        task = asyncio.get_running_loop().create_task(call)
        try:
            done, _ = await asyncio.wait({task}, timeout=NO_DATABASE_S)
        finally:
            if not task.done():
                self._late.add(task)
                task.add_done_callback(self._came)
        if not done:
            raise late
        return task.result()

    def _came(self, task: asyncio.Task[Any]) -> None:
        self._late.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.warning("a late call of the jobs' database has failed: %s", error)

    async def all(self, **wanted: Any) -> AsyncIterator[WorkflowStatus]:
        """All jobs of some kind, the oldest first, by ``DBOS.list_workflows``'s arguments.

        Raises:
            RefusedError: as a call.
        """
        for offset in itertools.count(step=PAGE):
            page = await self(DBOS.list_workflows_async(limit=PAGE, offset=offset, **wanted))
            for each in page:
                yield each
            if len(page) < PAGE:
                return
