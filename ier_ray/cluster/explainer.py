"""Explaining a list of images on the cluster; writes pictures, a JSON and an npz file for each."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event

import numpy as np
import ray
from numpy.typing import NDArray
from tqdm import tqdm

from ier_ray import storage
from ier_ray.cluster.explain_pool import ExplainPool, ExplainRequest
from ier_ray.data.images import encode_png
from ier_ray.data.samples import NamedImage
from ier_ray.data.schema import Domain
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import SettingsError
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.metrics import positive_mass_inside
from ier_ray.explain.rendering import overlay, strip, to_npz
from ier_ray.inference import ExplainerSettings
from ier_ray.records import ExplanationRecord
from ier_ray.training.checkpoint import read_checkpoint_manifest, require_images, require_network


@dataclass(frozen=True)
class ExplainedImage:
    """One explained image."""

    name: str
    label: str | None
    explanation: ExplanationRecord
    density: NDArray[np.float64]
    """Attribution per pixel for the target, ``(S, S)``."""
    cue_share: float | None
    """Fraction of the image's area that carries the label, where known."""
    cue_mass: float | None
    """Fraction of the positive attribution inside that area."""

    def as_json(self) -> bytes:
        """All fields but ``density``, which follows from the leaves."""
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
        output: directory or URI for ``<name>.png`` (signed overlay), ``<name>-levels.png`` (one
            per level, coarse to fine), ``<name>.json`` (leaf values) and ``<name>.npz``
            (credits of every level, all classes).
        target: class to explain; by default the predicted one.

    Raises:
        SettingsError: when ``target`` is not a class of the checkpoint.
        CheckpointError: when the checkpoint is missing, it has no network of the domain, or its
            networks read captions.
    """
    manifest = read_checkpoint_manifest(checkpoint)
    require_images(manifest, checkpoint, use="explained")
    require_network(manifest, checkpoint, domain)
    if target is not None and target not in scheme.classes:
        raise SettingsError(f"target must be one of {list(scheme.classes)}, got {target!r}")
    chosen = None if target is None else scheme.index(target)
    gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
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
            explained = described(image, explanation, record, index)
            write_explanation(output, image, explanation, explained, index)
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


def described(
    image: NamedImage, explanation: Explanation, record: ExplanationRecord, target: int
) -> ExplainedImage:
    """The record of an explained image, with its cue metrics where the cue mask is known."""
    density, mask = explanation.density_map(target), image.cue_mask
    return ExplainedImage(
        name=image.name,
        label=image.label,
        explanation=record,
        density=density,
        cue_share=None if mask is None else float(mask.mean()),
        cue_mass=None if mask is None else positive_mass_inside(density, mask),
    )


def write_explanation(
    output: str,
    image: NamedImage,
    explanation: Explanation,
    explained: ExplainedImage,
    target: int,
) -> None:
    """Write the files of an explanation."""
    stem = storage.join(output, re.sub(r"[^\w.-]", "_", image.name))
    storage.write_bytes(f"{stem}.png", encode_png(overlay(image.pixels, explained.density)))
    levels = strip(image.pixels, explanation, target)
    storage.write_bytes(f"{stem}-levels.png", encode_png(levels))
    storage.write_bytes(f"{stem}.npz", to_npz(explanation))
    storage.write_bytes(f"{stem}.json", explained.as_json())
