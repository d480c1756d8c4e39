"""Explain images with DnCShap: signed heat maps and the credit of every region."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from pydantic import Field, model_validator

from ier_ray.cluster.explainer import explain_images
from ier_ray.cluster.job import run_job
from ier_ray.config import Location, Settings
from ier_ray.data.fitting import Given, open_fitting
from ier_ray.data.samples import images_from_files, images_from_shards
from ier_ray.data.schema import Domain
from ier_ray.explainer_settings import DEFAULT_PRESET, ExplainerSettings
from ier_ray.training.checkpoint import read_checkpoint_manifest


class ExplainSettings(Settings):
    """What to explain, and how."""

    flat: ClassVar[tuple[str, ...]] = ("explainer",)

    checkpoint: Location
    """Checkpoint directory or s3:// URI, as printed by train.py or tune.py."""
    output: Location = "explanations"
    """Directory or s3:// URI for .png (the picture, its heat map, scale and caption), -overlay.png,
    -levels.png (coarse to fine), .json and .npz files, named after each image; images that would
    write the same files get a hash of their name as well."""
    images: list[Location] = Field(default_factory=list)
    """Image files to explain."""
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
        if bool(self.images) == bool(self.shards):
            raise ValueError("give either images or shards")
        return self


def main(settings: ExplainSettings) -> dict[str, Any]:
    manifest = read_checkpoint_manifest(settings.checkpoint)
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
        settings.checkpoint,
        images,
        settings.output,
        scheme=manifest.label_scheme,
        settings=settings.explainer,
        domain=settings.domain,
        target=settings.target,
        workers=settings.workers,
    )
    return {
        "output": settings.output,
        "explained": [
            {
                "name": image.name,
                "files": image.files,
                "target": image.explanation.target,
                "efficiency_gap": image.explanation.efficiency_gap,
            }
            for image in explained
        ],
    }


if __name__ == "__main__":
    sys.exit(run_job(ExplainSettings, main, program="explain", purpose=__doc__ or ""))
