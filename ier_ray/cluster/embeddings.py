"""Embeddings of images in several layers of a frozen network, extracted on the cluster."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ier_ray.cluster.batch_inference import BATCH, computed_batches, tasks_of
from ier_ray.cluster.features import NetworkSource, NetworkStage
from ier_ray.data.balancing import hash_ids
from ier_ray.data.shards import RowIndex, RowReader
from ier_ray.errors import DataError, StorageError
from ier_ray.layerwise.embeddings import EmbeddingFiles, Halves, bytes_of
from ier_ray.models.captions import CAPTION_TOKENS
from ier_ray.models.layers import layer_outputs
from ier_ray.training.footprint import gib

BLOCK_BYTES = 64 * 2**20
"""Of the embeddings that an actor returns at a time."""
SPARE_BYTES = 2**30
"""What must be left on the disk beside the embeddings."""


@dataclass
class Embed(NetworkStage):
    """Returns sample ids and embeddings."""

    layers: tuple[str, ...]

    @torch.inference_mode()
    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Embeddings of a batch of decoded rows, in half precision.

        Raises:
            DataError: when a layer's numbers are beyond half precision.
        """
        outputs = layer_outputs(self._network, self._inputs(batch), self.layers)
        found = {column(number): halves(*item) for number, item in enumerate(outputs.items())}
        return {"sample_id": batch["sample_id"], **found}


def column(number: int) -> str:
    """The column of a layer in the stage's output."""
    return f"layer_{number}"


def halves(layer: str, output: Tensor) -> Halves:
    """A layer's output in half precision.

    Raises:
        DataError: when that cannot hold it.
    """
    half = output.half()
    if not bool(half.isfinite().all()):
        largest = float(output.abs().max())
        raise DataError(
            f"layer {layer!r} gives numbers up to {largest:.3g}; embeddings are kept in half "
            f"precision, which ends at {torch.finfo(torch.half).max:.0f}: leave it out of layers"
        )
    found: Halves = half.cpu().numpy()
    return found


def layer_widths(source: NetworkSource, layers: Sequence[str]) -> dict[str, int]:
    """How many numbers each layer gives for an image.

    Raises:
        SettingsError: when a layer does not exist, or has no numbers for each image.
        CheckpointError: when the weights are missing, damaged, or do not fit.
    """
    if source.model.reads_captions:  # it reads values of its mask, so it needs real ones
        network, inputs = source.load(), torch.ones(1, CAPTION_TOKENS, dtype=torch.int64)
    else:
        side = source.model.image_size
        network, inputs = source.outline(), torch.zeros(1, 3, side, side, device="meta")
    with torch.inference_mode():
        outputs = layer_outputs(network, inputs, layers)
    return {name: output.shape[1] for name, output in outputs.items()}


def require_space(files: EmbeddingFiles) -> None:
    """Raise if the embeddings do not fit on their disk.

    Raises:
        StorageError: with what they take and what is free.
    """
    free = shutil.disk_usage(files.directory).free
    if files.bytes + SPARE_BYTES > free:
        raise StorageError(
            f"the embeddings of {files.images} images in {len(files.widths)} layers take "
            f"{gib(files.bytes)}, and {files.directory} has {gib(free)} free: lower per_class, "
            f"name fewer layers, or give another directory as scratch"
        )


def embed(
    source: NetworkSource,
    reader: RowReader,
    index: RowIndex,
    files: EmbeddingFiles,
    *,
    label: str,
    workers: int = 1,
) -> None:
    """Write the embeddings of the rows of an index to files, in the index's order.

    Args:
        reader: gives the source's input (see :meth:`Preprocessing.reader`).
        index: N rows, at least one; each sample occurs once.
        files: of N images; their layers are extracted, in one forward pass.
        label: of the progress bar.
        workers: copies of the network.

    Raises:
        CapacityError: when the workers can never fit on the cluster.
        DataError: when a layer's numbers are beyond half precision.
    """
    files.create()
    position = {key: row for row, key in enumerate(index.hash.tolist())}
    batches = computed_batches(
        reader,
        tasks_of(index),
        Embed,
        (source, tuple(files.widths)),
        workers=workers,
        batch=max(1, min(BATCH, BLOCK_BYTES // bytes_of(1, files.widths))),
    )
    with tqdm(total=len(index), unit="image", desc=label, disable=None) as bar:
        for batch in batches:
            keys = hash_ids(batch["sample_id"].tolist()).tolist()
            rows = np.array([position[key] for key in keys], dtype=np.int64)
            for number, layer in enumerate(files.widths):
                files.write(layer, rows, batch[column(number)])
            bar.update(len(rows))
