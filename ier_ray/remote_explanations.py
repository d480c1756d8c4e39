"""Explaining pictures through a running service; writes the files of :mod:`explained_images`."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, cast

from pydantic import ValidationError
from tqdm import tqdm

from ier_ray import storage
from ier_ray.client import AsyncClient, BrokenReplyError, ProblemError, UnreachableError
from ier_ray.client.parameters import Parameters
from ier_ray.client.records import ModelInfo
from ier_ray.config import in_one_line
from ier_ray.data.images import decode_square
from ier_ray.data.samples import NamedImage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.folders import has_image_suffix
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError, ImageError, ServiceError, SettingsError, StorageError
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.rendering import from_npz
from ier_ray.explained_images import ENDINGS, described, output_stems, write_explanation
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.records import ExplanationRecord

TOKEN = "IER_RAY_TOKEN"  # noqa: S105 (the name of an environment variable)
"""Where the token is, unless a file has it."""
TIMEOUT_S = 600.0
"""Seconds that a picture's explanation may take, repetitions included."""
RETRIES = 10
FOR_ALL = frozenset({401, 403, 404, 429})
"""Replies that would be the same for every picture: nothing more is asked."""


@dataclass(frozen=True)
class PictureFile:
    """A picture to explain."""

    name: str
    """As it was given, or found in a folder."""
    location: str

    @property
    def title(self) -> str:
        """Its name without suffix."""
        return PurePosixPath(self.location).stem


@dataclass(frozen=True)
class Written:
    """A picture whose files are there."""

    name: str
    files: str
    """Location of its files, without what they end in."""
    target: str
    efficiency_gap: float
    new: bool
    """False if an earlier call had written them."""


def token_of(file: str | None) -> str | None:
    """The token of a file, or of the environment; None if there is none.

    Raises:
        StorageError: when the file cannot be read.
        SettingsError: when it holds no token; its content is not repeated.
    """
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        found = storage.read_bytes(file).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise SettingsError(f"token_file: {file} holds no token") from error
    if not found:
        raise SettingsError(f"token_file: {file} is empty")
    return found


def pictures_of(locations: Sequence[str], output: str) -> list[PictureFile]:
    """Picture files, and those in folders, each once; none that an earlier call wrote.

    Raises:
        SettingsError: when a folder has none.
    """
    written = f"{os.path.realpath(storage.absolute(output))}/"
    found: dict[str, PictureFile] = {}
    for location in locations:
        names = list(_names(location, written))
        if not names:
            raise SettingsError(f"images: {location} has no pictures")
        for name in names:
            place = storage.absolute(name)
            found.setdefault(place, PictureFile(name, place))
    return list(found.values())


def _names(location: str, written: str) -> Iterator[str]:
    if has_image_suffix(location):
        yield location
        return
    try:
        files = storage.list_files(location)
    except StorageError:  # a file without a suffix, or nothing: reading it tells
        yield location
        return
    for file in filter(has_image_suffix, files):
        name = storage.join(location, file)
        if not os.path.realpath(storage.absolute(name)).startswith(written):
            yield name


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
            return await run.all(pictures, at_once)

    return asyncio.run(explained())


@dataclass(frozen=True)
class Run:
    """What is the same for all pictures."""

    client: AsyncClient
    stems: dict[str, str]
    parameters: Parameters
    info: ModelInfo
    settings: ExplainerSettings
    """As the service completes them."""
    target: str | None

    @classmethod
    async def begun(
        cls,
        client: AsyncClient,
        stems: dict[str, str],
        settings: ExplainerSettings,
        domain: Domain,
        target: str | None,
    ) -> Run:
        """Ask what is served, and whether the parameters can be used."""
        info = await client.info(network=domain)
        if target is not None and target not in info.classes:
            raise SettingsError(f"target must be one of {list(info.classes)}, got {target!r}")
        given = settings.model_dump(exclude_unset=True)
        parameters = cast("Parameters", given if target is None else {**given, "target": target})
        cost = await client.cost(network=domain, **parameters)
        refusal = cost.refusal
        if refusal is not None and refusal.status != 503:
            raise ProblemError(refusal.status, refusal.error, refusal.detail)
        try:
            completed = ExplainerSettings.model_validate(dict(cost.settings))
        except ValidationError as error:
            raise BrokenReplyError(
                f"the service has settings of another version: {in_one_line(error)}"
            ) from error
        return cls(client, stems, parameters, info, completed, target)

    async def all(self, pictures: Sequence[PictureFile], at_once: int) -> list[Written]:
        """Explain all, and name those that failed."""
        waiting, found = iter(pictures), dict[str, Written | str]()
        bar = tqdm(total=len(pictures), unit="image", desc="explain", disable=None)

        async def take() -> None:
            for picture in waiting:
                found[picture.name] = await self._alone(picture)
                bar.update()

        try:
            with bar:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(at_once, len(pictures))):
                        group.create_task(take())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        problems = [
            f"{picture.name}: {why}"
            for picture in pictures
            if isinstance(why := found[picture.name], str)
        ]
        if problems:
            told = f"{len(problems)} of {len(pictures)} pictures are not explained, the others are"
            raise DataError("\n".join([f"{told}:", *problems]))
        each = (found[picture.name] for picture in pictures)
        return [written for written in each if isinstance(written, Written)]

    async def _alone(self, picture: PictureFile) -> Written | str:
        """The files of a picture, or why there are none.

        Raises:
            ServiceError: when it would be the same for every picture.
            StorageError: when the files cannot be written.
        """
        try:
            encoded = await asyncio.to_thread(storage.read_bytes, picture.location)
        except StorageError as error:
            return str(error).removeprefix(f"{picture.location}: ")
        try:
            return await self._explained(picture, encoded)
        except ImageError as error:
            return str(error)
        except UnreachableError:
            raise
        except ProblemError as error:
            if error.status in FOR_ALL:
                raise
            return str(error)
        except ServiceError as error:
            return str(error)

    async def _explained(self, picture: PictureFile, encoded: bytes) -> Written:
        origin = {
            "network": self.info.name,
            "weights_sha256": self.info.weights_sha256,
            "image_sha256": hashlib.sha256(encoded).hexdigest(),
        }
        files = self.stems[picture.name]
        kept = await asyncio.to_thread(self._kept, picture, files, origin)
        if kept is not None:
            return kept
        pixels = await asyncio.to_thread(decode_square, encoded, self.info.image_size)
        image = NamedImage(picture.name, pixels, location=picture.location, encoded=encoded)
        found = await self.client.arrays(encoded, network=self.info.name, **self.parameters)
        if not found.complete:
            raise ServiceError("the service's deadline passed before the last level: lower depth")
        if found.weights_sha256 != self.info.weights_sha256:
            raise ServiceError("the service has other weights now: call again")
        try:
            explanation = from_npz(found.content)
        except (ValueError, KeyError, OSError) as error:
            raise BrokenReplyError(f"the reply is no explanation: {error}") from error
        return await asyncio.to_thread(self._write, image, explanation, files, origin)

    def _write(
        self, image: NamedImage, explanation: Explanation, files: str, origin: dict[str, str]
    ) -> Written:
        scheme = EmotionScheme(self.info.scheme, self.info.classes)
        record = ExplanationRecord.of(explanation, self.settings, scheme, self.target)
        index = scheme.index(record.target)
        explained = described(image, files, explanation, record, index)
        write_explanation(image, explanation, replace(explained, service=origin), index)
        return Written(image.name, files, record.target, record.efficiency_gap, new=True)

    def _kept(self, picture: PictureFile, files: str, origin: dict[str, str]) -> Written | None:
        """The files of an earlier call, if they are those that this one would write."""
        if not all(storage.exists(f"{files}{ending}") for ending in ENDINGS):
            return None
        try:
            record: dict[str, Any] = storage.read_json(f"{files}.json")
            target = self.target or record["prediction"]["label"]
            same = (
                record["service"] == origin
                and record["settings"] == self.settings.model_dump(mode="json")
                and record["target"] == target
            )
            if not same:
                return None
            gap = float(record["efficiency_gap"])
        except (StorageError, KeyError, TypeError, ValueError):
            return None
        return Written(picture.name, files, target, gap, new=False)
