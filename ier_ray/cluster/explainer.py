"""Explaining a list of images on the cluster; writes pictures, a JSON and an npz file for each."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ier_ray import storage
from ier_ray.cluster.capacity import join_for
from ier_ray.cluster.explain_pool import ExplainPool, ExplainRequest
from ier_ray.data.images import encode_png
from ier_ray.data.samples import NamedImage
from ier_ray.data.schema import Domain
from ier_ray.data.stems import file_stems
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import SettingsError
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.metrics import positive_mass_inside
from ier_ray.explain.rendering import LONGEST, overlay, to_npz
from ier_ray.explain.sheets import Caption, level_sheet, sheet
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.records import ExplanationRecord
from ier_ray.training.checkpoint import (
    check_weights,
    read_checkpoint_manifest,
    require_images,
    require_network,
)

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

    def as_json(self) -> bytes:
        """All fields but ``files`` and ``density``, which follows from the leaves."""
        described = {
            "name": self.name,
            "label": self.label,
            "cue_share": self.cue_share,
            "cue_mass": self.cue_mass,
            **self.explanation.model_dump(mode="json"),
        }
        return json.dumps(described, allow_nan=False).encode()


def explain_images(
    checkpoint: str,
    images: Sequence[NamedImage],
    output: str,
    *,
    scheme: EmotionScheme,
    settings: ExplainerSettings,
    domain: Domain = "ier",
    target: str | None = None,
    workers: int = 1,
    worker_cpus: float = 1.0,
) -> list[ExplainedImage]:
    """Explain images, each with one worker, or with all workers if there are fewer images.

    Args:
        output: directory or URI for ``<stem>.png`` (the picture, its signed overlay, scale and
            caption), ``<stem>-overlay.png`` (the overlay alone), ``<stem>-levels.png`` (one per
            level, coarse to fine), ``<stem>.json`` (leaf values) and ``<stem>.npz`` (credits of
            every level, all classes), with a stem of its own for each image
            (:func:`ier_ray.data.stems.file_stems`).
        target: class to explain; by default the predicted one.

    Raises:
        SettingsError: when ``target`` is not a class of the checkpoint, two images have one name,
            or an image would be overwritten.
        CheckpointError: when the checkpoint is missing or damaged, it has no network of the domain,
            or its networks read captions.
        StorageError: when the output cannot be written.
        CapacityError: when the workers can never fit on the cluster.
    """
    manifest = read_checkpoint_manifest(checkpoint)
    require_images(manifest, checkpoint, use="explained")
    require_network(manifest, checkpoint, domain)
    if target is not None and target not in scheme.classes:
        raise SettingsError(f"target must be one of {list(scheme.classes)}, got {target!r}")
    chosen = None if target is None else scheme.index(target)
    stems = output_stems(images, output)
    storage.check_writable(output, directory=True)
    check_weights(checkpoint, manifest)
    gpus = join_for(workers, cpus=worker_cpus)
    pool = ExplainPool.start(
        storage.absolute(checkpoint), size=workers, num_cpus=worker_cpus, num_gpus=gpus
    )
    lanes = pool.lanes() if len(images) >= workers else [pool]
    free: SimpleQueue[ExplainPool] = SimpleQueue()
    for lane in lanes:
        free.put(lane)
    ended = Event()

    def explain_one(image: NamedImage) -> ExplainedImage:
        lane = free.get()
        try:
            request = ExplainRequest(image.pixels, settings, domain, chosen)
            explanation = lane.explain(request, cancelled=ended.is_set)
            record = ExplanationRecord.of(explanation, settings, scheme, target)
            index = scheme.index(record.target)
            explained = described(image, stems[image.name], explanation, record, index)
            write_explanation(image, explanation, explained, index)
        finally:
            free.put(lane)
        return explained

    threads = ThreadPoolExecutor(len(lanes))
    try:
        found = threads.map(explain_one, images)
        return list(tqdm(found, total=len(images), unit="image", desc="explain", disable=None))
    finally:  # if one image failed, the others are cancelled
        ended.set()
        threads.shutdown(cancel_futures=True)
        pool.stop()


def output_stems(images: Sequence[NamedImage], output: str) -> dict[str, str]:
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
