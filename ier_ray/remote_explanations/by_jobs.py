"""Explaining pictures as jobs of the service, which go on when this program ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from tqdm import tqdm

from ier_ray import storage
from ier_ray.client import AsyncClient, InterruptedReplyError, ProblemError
from ier_ray.client.attempts import AGAIN
from ier_ray.client.records import ENDED, Arrays, Job
from ier_ray.data.schema import Domain
from ier_ray.errors import ImageError, ServiceError
from ier_ray.explained_images import output_stems
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.remote_explanations.open_jobs import Batch, OpenJobs
from ier_ray.remote_explanations.pictures import PictureFile
from ier_ray.remote_explanations.run import Run, Written, all_written, digest_of, read, told

MOST_PICTURES = 256
"""In a job; where the service takes fewer, jobs are halved."""
MOST_BYTES = 28_000_000
"""Pictures of a job, which base64 makes a third larger; a single one may have more."""
MOST_JOBS = 16
"""Jobs with the same pictures, of which all but the last have failed or were cancelled."""
FETCHES = 4
"""How often a finished explanation is asked for while replies break off."""
BUSY_S = 15.0
"""Before a service that is busy with jobs of this call is asked again."""
TOO_LARGE = 413
SMALLER = frozenset({"bad_form", "bad_images", "bad_instances"})
"""Problems of a job that has too many pictures, or none that can be used."""
SERVER_ERROR = 500


def explain_by_jobs(
    client: AsyncClient,
    pictures: Sequence[PictureFile],
    output: str,
    *,
    settings: ExplainerSettings,
    domain: Domain = "ier",
    target: str | None = None,
    at_once: int = 4,
) -> list[Written]:
    """As :func:`explain_remotely`, by jobs of many pictures each.

    The jobs go on when this call ends; the next call with the same output continues with them.

    Args:
        at_once: jobs that are at the service at the same time.
    """
    stems = output_stems(pictures, output)
    storage.check_writable(output, directory=True)

    async def explained() -> list[Written]:
        async with client:
            run = await Run.begun(client, stems, settings, domain, target)
            await client.jobs(1)  # a service without jobs says so before any picture is sent
            return all_written(pictures, await Folder(run, pictures, OpenJobs(output)).all(at_once))

    return asyncio.run(explained())


class Folder:
    """The pictures of a call on their way.

    Args:
        noted: jobs of earlier calls.
    """

    def __init__(self, run: Run, pictures: Sequence[PictureFile], noted: OpenJobs) -> None:
        self._run, self._noted = run, noted
        self._found: dict[str, Written | str] = {}
        self._by_location = {picture.location: picture for picture in pictures}
        self._earlier = deque(noted)
        inside = {location for _, digests in self._earlier for location in digests}
        self._waiting = deque(each for each in pictures if each.location not in inside)
        self._most, self._trial = MOST_PICTURES, MOST_PICTURES
        self._sending = asyncio.Lock()
        self._open = 0
        self._bar = tqdm(total=len(pictures), unit="image", desc="explain", disable=None)

    async def all(self, at_once: int) -> dict[str, Written | str]:
        """The files of each picture by its name, or why there are none."""
        try:
            with self._bar:
                async with asyncio.TaskGroup() as group:
                    for _ in range(at_once):
                        group.create_task(self._take())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return self._found

    async def _take(self) -> None:
        """One job after another."""
        while True:
            async with self._sending:  # the pictures of one job at a time are in memory
                begun = await self._begun()
                if begun is None:
                    return
                self._open += 1
            await self._followed(*begun)
            self._open -= 1

    async def _begun(self) -> tuple[Batch, Job] | None:
        """The next job; None when no picture waits."""
        while True:
            batch, contents = await self._batch_of_earlier() if self._earlier else await self._new()
            if contents:
                job = await self._submitted(batch, contents)
                if job is not None:
                    return batch, job
            elif not self._earlier and not self._waiting:
                return None

    async def _batch_of_earlier(self) -> tuple[Batch, list[bytes]]:
        """The next job of an earlier call; nothing if it would be another one now."""
        key, digests = self._earlier.popleft()
        pictures = [self._by_location[each] for each in digests if each in self._by_location]
        contents = [await read(picture) for picture in pictures]
        loaded = [each for each in contents if isinstance(each, bytes)]
        batch = Batch(tuple(pictures), tuple(map(digest_of, loaded)))
        if list(batch.digests) != list(digests.values()) or batch.key(self._run) != key:
            await asyncio.to_thread(self._noted.remove, key)
            self._waiting.extendleft(reversed(pictures))
            return batch, []
        for picture, digest in zip(batch.pictures, batch.digests, strict=True):
            await self._settle_if_kept(picture, digest)
        if all(picture.name in self._found for picture in pictures):
            await asyncio.to_thread(self._noted.remove, key)
            return batch, []
        return batch, loaded

    async def _new(self) -> tuple[Batch, list[bytes]]:
        """Pictures that wait and have no files yet."""
        pictures: list[PictureFile] = []
        contents: list[bytes] = []
        size = 0
        while self._waiting and len(pictures) < self._trial:
            picture = self._waiting[0]
            encoded = await read(picture)
            if isinstance(encoded, str):
                self._settle(picture, encoded)
            elif not await self._settle_if_kept(picture, digest_of(encoded)):
                size += len(encoded)
                if pictures and size > MOST_BYTES:
                    break
                pictures.append(picture)
                contents.append(encoded)
            self._waiting.popleft()
        return Batch(tuple(pictures), tuple(map(digest_of, contents))), contents

    async def _submitted(self, batch: Batch, contents: list[bytes]) -> Job | None:
        """The job of a batch; None if the service did not take it, and its pictures wait again."""
        key, size = batch.key(self._run), len(batch.pictures)
        await asyncio.to_thread(self._noted.add, key, batch)
        try:
            job = await self._job(key, contents)
        except ProblemError as refused:
            if refused.status != TOO_LARGE and refused.error not in SMALLER:
                raise
            await asyncio.to_thread(self._noted.remove, key)
            if size == 1:
                self._trial = self._most
                self._settle(batch.pictures[0], str(refused))
            else:
                self._trial = size // 2
                again = [each for each in batch.pictures if each.name not in self._found]
                self._waiting.extendleft(reversed(again))
            return None
        self._most = self._trial  # smaller than before if smaller jobs alone are taken
        return job

    async def _job(self, key: str, contents: list[bytes]) -> Job:
        """A job that may still explain all that it can."""
        for number in range(MOST_JOBS):
            job = await self._taken(f"{key}-{number}", contents)
            errors = [image.error for image in job.images if image.error is not None]
            lost = any(error.status >= SERVER_ERROR for error in errors)
            if job.ended is None or (job.state == "finished" and not lost):
                return job
        raise ServiceError(f"{MOST_JOBS} jobs with the same pictures have failed or were cancelled")

    async def _taken(self, key: str, contents: list[bytes]) -> Job:
        """A job, when the service has room for it."""
        run = self._run
        while True:
            try:
                return await run.client.submit(
                    contents, network=run.info.name, key=key, **run.parameters
                )
            except ProblemError as refused:
                if refused.status not in AGAIN or not self._open:
                    raise
            await asyncio.sleep(BUSY_S)

    async def _followed(self, batch: Batch, job: Job) -> None:
        """Write the files of each picture when its explanation is finished."""
        seen = set[int]()
        async for now in self._run.client.watch(job.id):
            for place, image in enumerate(now.images):
                picture = batch.pictures[place]
                if image.state not in ENDED or place in seen:
                    continue
                seen.add(place)
                if picture.name not in self._found:
                    self._settle(picture, await self._outcome(batch, now, place))
        await asyncio.to_thread(self._noted.remove, batch.key(self._run))

    async def _outcome(self, batch: Batch, job: Job, place: int) -> Written | str:
        """The files of a picture, or why there are none.

        Raises:
            ServiceError: when it would be the same for every picture.
            StorageError: when the files cannot be written.
        """
        picture, digest, image = batch.pictures[place], batch.digests[place], job.images[place]
        if image.error is not None:
            return str(ProblemError(image.error.status, image.error.error, image.error.detail))
        if image.state != "finished":
            return f"not finished: its job is {job.state}; call again"
        encoded = await read(picture)
        if isinstance(encoded, str):
            return encoded
        if digest_of(encoded) != digest:
            return "the picture has changed meanwhile: call again"
        try:
            found = await self._arrays(job, place)
            return await self._run.write(await self._run.image(picture, encoded), digest, found)
        except (ImageError, ServiceError) as error:
            return told(error)

    async def _arrays(self, job: Job, place: int) -> Arrays:
        for _ in range(FETCHES - 1):
            try:
                return await self._run.client.explanation_arrays(job.id, place)
            except InterruptedReplyError:
                continue
        return await self._run.client.explanation_arrays(job.id, place)

    async def _settle_if_kept(self, picture: PictureFile, digest: str) -> bool:
        kept = await asyncio.to_thread(self._run.kept, picture, digest)
        if kept is not None:
            self._settle(picture, kept)
        return kept is not None

    def _settle(self, picture: PictureFile, found: Written | str) -> None:
        self._found[picture.name] = found
        self._bar.update()
