"""Explain images with DnCShap: signed heat maps and the credit of every region."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from typing import Any, ClassVar

from pydantic import Field, model_validator

from ier_ray.client import AsyncClient
from ier_ray.client.replies import checked_url
from ier_ray.cluster.explainer import explain_images
from ier_ray.cluster.job import run_job
from ier_ray.config import Location, Settings
from ier_ray.data.fitting import Given, open_fitting
from ier_ray.data.samples import images_from_files, images_from_shards
from ier_ray.data.schema import Domain
from ier_ray.errors import SettingsError
from ier_ray.explainer_settings import DEFAULT_PRESET, ExplainerSettings
from ier_ray.remote_explanations import (
    RETRIES,
    TIMEOUT_S,
    explain_by_jobs,
    explain_remotely,
    pictures_of,
    token_of,
)
from ier_ray.training.checkpoint import read_checkpoint_manifest


class ExplainSettings(Settings):
    """What to explain, and how."""

    flat: ClassVar[tuple[str, ...]] = ("explainer",)

    checkpoint: Location | None = None
    """Checkpoint directory or s3:// URI, as printed by train.py or tune.py."""
    server: str | None = None
    """Address of a running service, such as https://HOST:PORT, to explain by instead of a
    checkpoint; it takes images. All five kinds of files below are written here, from its replies.
    Pictures that are explained already are not asked for again."""
    token_file: Location | None = None
    """With server: file that holds its token; by default the token is that of the environment
    variable IER_RAY_TOKEN, if there is one."""
    at_once: int = Field(4, ge=1, le=64)
    """With server: pictures, or jobs of them, that are there at the same time."""
    as_jobs: bool = False
    """With server: explain by its jobs, of up to 256 pictures each, which go on when this program
    ends and when the service is started again; the same call then continues with them. The service
    keeps the pictures until they are explained, and the explanations for some days."""
    output: Location = "explanations"
    """Directory or s3:// URI for .png (the picture, its heat map, scale and caption), -overlay.png,
    -levels.png (coarse to fine), .json and .npz files, named after each image; images that would
    write the same files get a hash of their name as well."""
    images: list[Location] = Field(default_factory=list)
    """Image files to explain; with server, also folders of them."""
    shards: Location | None = None
    """Shard set to take images from, instead of files; of the network's domain and classes."""
    per_class: int = Field(2, ge=1)
    """Number of images per class taken from the shard set."""
    fold: int = Field(0, ge=0)
    """Fold of the shard set to take them from."""
    domain: Domain = "ier"
    """Which of the two networks to explain."""
    target: str | None = None
    """Class to explain; by default the predicted one."""
    workers: int = Field(1, ge=1)
    """Copies of the network that share the work."""
    explainer: ExplainerSettings = ExplainerSettings(preset=DEFAULT_PRESET)

    @model_validator(mode="after")
    def _one_kind_of_input(self) -> ExplainSettings:
        if (self.checkpoint is None) == (self.server is None):
            raise ValueError("give either checkpoint or server")
        if bool(self.images) == bool(self.shards):
            raise ValueError("give either images or shards")
        here, there = (
            ("shards", "per_class", "fold", "workers"),
            ("token_file", "at_once", "as_jobs"),
        )
        unused = self.model_fields_set & set(there if self.server is None else here)
        if self.server is not None:
            _check_address(self.server)
        if unused:
            needed = "server" if self.server is None else "checkpoint"
            raise ValueError(f"{', '.join(sorted(unused))}: can be used with {needed} alone")
        return self


def _check_address(server: str) -> None:
    """Before the settings are logged, which must show no password."""
    try:
        checked_url(server)
    except SettingsError as error:
        raise ValueError(str(error)) from error


def main(settings: ExplainSettings) -> dict[str, Any]:
    by = by_checkpoint if settings.server is None else by_service
    return {"output": settings.output, "explained": by(settings)}


def by_service(settings: ExplainSettings) -> list[dict[str, Any]]:
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for each request
    token = token_of(settings.token_file)
    client = AsyncClient(str(settings.server), token, timeout=TIMEOUT_S, retries=RETRIES)
    explain = explain_by_jobs if settings.as_jobs else explain_remotely
    written = explain(
        client,
        pictures_of(settings.images, settings.output),
        settings.output,
        settings=settings.explainer,
        domain=settings.domain,
        target=settings.target,
        at_once=settings.at_once,
    )
    return [asdict(image) for image in written]


def by_checkpoint(settings: ExplainSettings) -> list[dict[str, Any]]:
    checkpoint = str(settings.checkpoint)
    manifest = read_checkpoint_manifest(checkpoint)
    preprocessing = manifest.preprocessing
    if settings.shards is not None:
        given = [Given("shards", settings.shards, settings.domain)]
        (shards,) = open_fitting(given, scheme=manifest.label_scheme)
        images = images_from_shards(
            shards,
            per_class=settings.per_class,
            fold=settings.fold,
            preprocessing=preprocessing,
        )
    else:
        images = images_from_files(settings.images, preprocessing=preprocessing)
    explained = explain_images(
        checkpoint,
        images,
        settings.output,
        scheme=manifest.label_scheme,
        settings=settings.explainer,
        domain=settings.domain,
        target=settings.target,
        workers=settings.workers,
    )
    return [
        {
            "name": image.name,
            "files": image.files,
            "target": image.explanation.target,
            "efficiency_gap": image.explanation.efficiency_gap,
        }
        for image in explained
    ]


if __name__ == "__main__":
    sys.exit(run_job(ExplainSettings, main, program="explain", purpose=__doc__ or ""))
