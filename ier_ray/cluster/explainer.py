"""Explaining a list of images on the cluster; writes pictures, a JSON and an npz file for each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event

from tqdm import tqdm

from ier_ray import storage
from ier_ray.cluster.capacity import join_for
from ier_ray.cluster.explain_pool import ExplainPool, ExplainRequest
from ier_ray.data.samples import NamedImage
from ier_ray.data.schema import Domain
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import SettingsError
from ier_ray.explained_images import (
    ExplainedImage,
    described,
    output_stems,
    write_explanation,
)
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.records import ExplanationRecord
from ier_ray.training.checkpoint import (
    check_weights,
    read_checkpoint_manifest,
    require_images,
    require_network,
)


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
