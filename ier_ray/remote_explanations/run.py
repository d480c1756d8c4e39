"""What all pictures of a call have in common, and the files of each."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pydantic import ValidationError

from ier_ray import storage
from ier_ray.client import AsyncClient, BrokenReplyError, ProblemError, UnreachableError
from ier_ray.client.parameters import Parameters
from ier_ray.client.records import Arrays, ModelInfo, PredictedCost
from ier_ray.config import in_one_line
from ier_ray.data.images import decode_square
from ier_ray.data.samples import NamedImage
from ier_ray.data.schema import Domain
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError, ImageError, ServiceError, SettingsError, StorageError
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.rendering import from_npz
from ier_ray.explained_images import ENDINGS, described, write_explanation
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.records import ExplanationRecord
from ier_ray.remote_explanations.pictures import PictureFile

TIMEOUT_S = 600.0
"""Seconds that a picture's explanation may take, repetitions included."""
RETRIES = 10
FOR_ALL = frozenset({401, 403, 404, 429})
"""Replies that would be the same for every picture: nothing more is asked."""


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


@dataclass(frozen=True)
class Run:
    """What is the same for all pictures."""

    client: AsyncClient
    stems: dict[str, str]
    parameters: Parameters
    info: ModelInfo
    cost: PredictedCost
    """Of one picture."""
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
        try:
            completed = ExplainerSettings.model_validate(dict(cost.settings))
        except ValidationError as error:
            raise BrokenReplyError(
                f"the service has settings of another version: {in_one_line(error)}"
            ) from error
        return cls(client, stems, parameters, info, cost, completed, target)

    def origin(self, digest: str) -> dict[str, str]:
        """What a service explains with which weights."""
        return {
            "network": self.info.name,
            "weights_sha256": self.info.weights_sha256,
            "image_sha256": digest,
        }

    async def image(self, picture: PictureFile, encoded: bytes) -> NamedImage:
        """A picture, decoded.

        Raises:
            ImageError: when it cannot be.
        """
        pixels = await asyncio.to_thread(decode_square, encoded, self.info.image_size)
        return NamedImage(picture.name, pixels, location=picture.location, encoded=encoded)

    async def write(self, image: NamedImage, digest: str, found: Arrays) -> Written:
        """The files of a picture, from the service's reply.

        Args:
            digest: SHA-256 of the picture file.

        Raises:
            ServiceError: when the reply is not the whole explanation by the weights of this run.
            StorageError: when they cannot be written.
        """
        if not found.complete:
            raise ServiceError("the service's deadline passed before the last level: lower depth")
        if found.weights_sha256 != self.info.weights_sha256:
            raise ServiceError("the service has other weights now: call again")
        try:
            explanation = from_npz(found.content)
        except (ValueError, KeyError, OSError) as error:
            raise BrokenReplyError(f"the reply is no explanation: {error}") from error
        return await asyncio.to_thread(self._write, image, digest, explanation)

    def _write(self, image: NamedImage, digest: str, explanation: Explanation) -> Written:
        origin, files = self.origin(digest), self.stems[image.name]
        scheme = EmotionScheme(self.info.scheme, self.info.classes)
        record = ExplanationRecord.of(explanation, self.settings, scheme, self.target)
        index = scheme.index(record.target)
        explained = described(image, files, explanation, record, index)
        write_explanation(image, explanation, replace(explained, service=origin), index)
        return Written(image.name, files, record.target, record.efficiency_gap, new=True)

    def kept(self, picture: PictureFile, digest: str) -> Written | None:
        """The files of an earlier call, if they are those that this one would write."""
        files = self.stems[picture.name]
        if not all(storage.exists(f"{files}{ending}") for ending in ENDINGS):
            return None
        try:
            record: dict[str, Any] = storage.read_json(f"{files}.json")
            target = self.target or record["prediction"]["label"]
            same = (
                record["service"] == self.origin(digest)
                and record["settings"] == self.settings.model_dump(mode="json")
                and record["target"] == target
            )
            if not same:
                return None
            gap = float(record["efficiency_gap"])
        except (StorageError, KeyError, TypeError, ValueError):
            return None
        return Written(picture.name, files, target, gap, new=False)


def all_written(
    pictures: Sequence[PictureFile], found: Mapping[str, Written | str]
) -> list[Written]:
    """The files of all pictures.

    Args:
        found: by name; why there are none where there are none.

    Raises:
        DataError: naming every picture that has none.
    """
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


def told(failure: ImageError | ServiceError) -> str:
    """Why a picture is not explained.

    Raises:
        ServiceError: the failure itself, when it would be the same for every picture.
    """
    if isinstance(failure, UnreachableError):
        raise failure
    if isinstance(failure, ProblemError) and failure.status in FOR_ALL:
        raise failure
    return str(failure)


async def read(picture: PictureFile) -> bytes | str:
    """A picture file, or why it cannot be read."""
    try:
        return await asyncio.to_thread(storage.read_bytes, picture.location)
    except StorageError as error:
        return str(error).removeprefix(f"{picture.location}: ")


def digest_of(encoded: bytes) -> str:
    """SHA-256 of a picture file."""
    return hashlib.sha256(encoded).hexdigest()
