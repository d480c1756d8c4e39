"""Explaining pictures by one request each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tqdm import tqdm

from ier_ray import storage
from ier_ray.client import AsyncClient, ProblemError
from ier_ray.data.schema import Domain
from ier_ray.errors import ImageError, ServiceError
from ier_ray.explained_images import output_stems
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.remote_explanations.pictures import PictureFile
from ier_ray.remote_explanations.run import Run, Written, all_written, digest_of, read, told


def explain_remotely(
    client: AsyncClient,
    pictures: Sequence[PictureFile],
    output: str,
    *,
    settings: ExplainerSettings,
    domain: Domain = "ier",
    target: str | None = None,
    at_once: int = 4,
) -> list[Written]:
    """Explain pictures through a service, some at the same time.

    Files that an earlier call wrote of the same picture with the same settings and weights are
    left as they are. A picture that fails does not disturb the others.

    Args:
        client: is closed at the end.
        output, target: as of :func:`ier_ray.cluster.explainer.explain_images`.
        at_once: pictures that are at the service at the same time.

    Raises:
        DataError: at the end, naming every picture that failed.
        SettingsError: when ``target`` is not a class of the service's network, or a picture would
            be overwritten.
        ServiceError: when the service cannot be used.
        StorageError: when the output cannot be written.
    """
    stems = output_stems(pictures, output)
    storage.check_writable(output, directory=True)

    async def explained() -> list[Written]:
        async with client:
            run = await Run.begun(client, stems, settings, domain, target)
            refusal = run.cost.refusal
            if refusal is not None and refusal.status != 503:
                raise ProblemError(refusal.status, refusal.error, refusal.detail)
            return all_written(pictures, await _each(run, pictures, at_once))

    return asyncio.run(explained())


async def _each(
    run: Run, pictures: Sequence[PictureFile], at_once: int
) -> dict[str, Written | str]:
    """The files of each picture by its name, or why there are none."""
    waiting, found = iter(pictures), dict[str, Written | str]()
    bar = tqdm(total=len(pictures), unit="image", desc="explain", disable=None)

    async def take() -> None:
        for picture in waiting:
            found[picture.name] = await _alone(run, picture)
            bar.update()

    try:
        with bar:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(at_once, len(pictures))):
                    group.create_task(take())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return found


async def _alone(run: Run, picture: PictureFile) -> Written | str:
    """The files of a picture, or why there are none.

    Raises:
        ServiceError: when it would be the same for every picture.
        StorageError: when the files cannot be written.
    """
    encoded = await read(picture)
    if isinstance(encoded, str):
        return encoded
    try:
        return await _explained(run, picture, encoded)
    except (ImageError, ServiceError) as error:
        return told(error)


async def _explained(run: Run, picture: PictureFile, encoded: bytes) -> Written:
    digest = digest_of(encoded)
    kept = await asyncio.to_thread(run.kept, picture, digest)
    if kept is not None:
        return kept
    image = await run.image(picture, encoded)
    found = await run.client.arrays(encoded, network=run.info.name, **run.parameters)
    return await run.write(image, digest, found)
