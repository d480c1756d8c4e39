"""Explained images, and the files that are written of each: pictures, a JSON and an npz file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ier_ray import storage
from ier_ray.data.images import encode_png
from ier_ray.data.samples import NamedImage
from ier_ray.data.stems import file_stems
from ier_ray.errors import SettingsError
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.metrics import positive_mass_inside
from ier_ray.explain.rendering import LONGEST, overlay, to_npz
from ier_ray.explain.sheets import Caption, level_sheet, sheet
from ier_ray.records import ExplanationRecord

ENDINGS = (".png", "-overlay.png", "-levels.png", ".npz", ".json")
"""Of the files of an explanation, after its stem."""


@dataclass(frozen=True)
class ExplainedImage:
    """One explained image."""

    name: str
    files: str
    """Location of its files, without what they end in."""
    label: str | None
    explanation: ExplanationRecord
    density: NDArray[np.float64]
    """Attribution per pixel for the target, ``(S, S)``."""
    cue_share: float | None
    """Fraction of the image's area that carries the label, where known."""
    cue_mass: float | None
    """Fraction of the positive attribution inside that area."""
    service: Mapping[str, str] | None = None
    """What a service has explained with which weights, if it did; hashes."""

    def as_json(self) -> bytes:
        """All fields but ``files`` and ``density``, which follows from the leaves."""
        described = {
            "name": self.name,
            "label": self.label,
            "cue_share": self.cue_share,
            "cue_mass": self.cue_mass,
            **self.explanation.model_dump(mode="json"),
            **({} if self.service is None else {"service": dict(self.service)}),
        }
        return json.dumps(described, allow_nan=False).encode()


class Named(Protocol):
    """An image that files are named after; see :class:`ier_ray.data.samples.NamedImage`."""

    @property
    def name(self) -> str:
        """Unlike those of others."""

    @property
    def title(self) -> str:
        """A readable name, which several images may share."""

    @property
    def location(self) -> str | None:
        """Of its file."""


def output_stems(images: Sequence[Named], output: str) -> dict[str, str]:
    """Where each image's files go, up to their endings; no two images write the same file.

    Raises:
        SettingsError: when two images have one name, or an image would be overwritten.
    """
    titles = {image.name: image.title for image in images}
    if len(titles) < len(images):
        names = [image.name for image in images]
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingsError(f"{twice}: is to be explained twice")
    middles = {ending.partition(".")[0] for ending in ENDINGS}
    found = file_stems(titles, middles=middles)
    stems = {name: storage.join(output, stem) for name, stem in found.items()}
    written = {_place(f"{stem}{ending}") for stem in stems.values() for ending in ENDINGS}
    for image in images:
        if image.location is not None and _place(image.location) in written:
            raise SettingsError(
                f"{image.name}: an explanation would be written over it; give another --output"
            )
    return stems


def _place(location: str) -> str:
    return os.path.realpath(storage.absolute(location))


def described(
    image: NamedImage,
    files: str,
    explanation: Explanation,
    record: ExplanationRecord,
    target: int,
) -> ExplainedImage:
    """The record of an explained image, with its cue metrics where the cue mask is known."""
    density, mask = explanation.density_map(target), image.cue_mask
    return ExplainedImage(
        name=image.name,
        files=files,
        label=image.label,
        explanation=record,
        density=density,
        cue_share=None if mask is None else float(mask.mean()),
        cue_mass=None if mask is None else positive_mass_inside(density, mask),
    )


def write_explanation(
    image: NamedImage, explanation: Explanation, explained: ExplainedImage, target: int
) -> None:
    """Write the files of an explanation."""
    picture, caption = image.picture(LONGEST), caption_of(explained)
    contents = (
        sheet(picture, explanation, target, caption),
        encode_png(overlay(picture, explained.density)),
        level_sheet(picture, explanation, target, caption),
        to_npz(explanation),
        explained.as_json(),
    )
    for ending, content in zip(ENDINGS, contents, strict=True):
        storage.write_bytes(f"{explained.files}{ending}", content)


def caption_of(explained: ExplainedImage) -> Caption:
    """What the margin of an explained image says."""
    record, prediction = explained.explanation, explained.explanation.prediction
    return Caption(
        name=explained.name,
        target=(record.target, prediction.probabilities[record.target]),
        prediction=(prediction.label, prediction.probability),
        label=explained.label,
        score=record.settings.score,
        settings=record.settings.in_words(),
    )
