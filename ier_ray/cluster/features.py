"""Features of images from any layer of a frozen network, extracted on the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ier_ray.cluster.batch_inference import infer, tasks_of
from ier_ray.data.balancing import hash_ids
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.provenance import SeenRows
from ier_ray.data.schema import Domain
from ier_ray.data.shards import RowIndex, RowReader
from ier_ray.data.transforms import Normalization
from ier_ray.models.classifier import EmotionClassifier
from ier_ray.models.features import Pool, layer_features, layer_named
from ier_ray.models.registry import ModelSettings, build_network
from ier_ray.models.weights import load_pretrained
from ier_ray.storage import absolute
from ier_ray.training.checkpoint import (
    CheckpointManifest,
    check_weights,
    load_checkpoint,
    read_checkpoint_manifest,
    read_seen_rows,
    require_network,
)

OUTPUTS = 2
"""Classes of a network without a checkpoint: its output layer is not trained."""


class NetworkSource(Protocol):
    """Where a frozen network comes from; small enough to be sent to any worker."""

    @property
    def model(self) -> ModelSettings:
        """Its architecture and size."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become its input."""

    def seen(self) -> SeenRows:
        """The rows that trained or selected it."""

    def outline(self) -> EmotionClassifier:
        """The network in eval mode on torch's device ``meta``: shapes, no memory for values."""

    def load(self) -> EmotionClassifier:
        """The network on the CPU, in eval mode."""


@dataclass(frozen=True)
class CheckpointNetwork:
    """One of the two networks of a checkpoint."""

    location: str
    domain: Domain
    manifest: CheckpointManifest

    @classmethod
    def at(cls, location: str, domain: Domain) -> CheckpointNetwork:
        """The network of a domain in a checkpoint directory or ``s3://`` URI.

        Raises:
            CheckpointError: when there is no checkpoint, or no such network in it.
        """
        manifest = read_checkpoint_manifest(location)
        require_network(manifest, location, domain)
        return cls(absolute(location), domain, manifest)

    @property
    def model(self) -> ModelSettings:
        """As in the checkpoint."""
        return self.manifest.model

    @property
    def preprocessing(self) -> Preprocessing:
        """As in training."""
        return self.manifest.preprocessing

    def seen(self) -> SeenRows:
        """As recorded with the checkpoint."""
        return read_seen_rows(self.location)

    def outline(self) -> EmotionClassifier:
        """The architecture.

        Raises:
            CheckpointError: when the weights are missing, damaged, or do not fit it.
        """
        check_weights(self.location, self.manifest)
        return _outline(self.model, len(self.manifest.classes))

    def load(self) -> EmotionClassifier:
        """Read the weights."""
        joint, _ = load_checkpoint(self.location)
        return joint.fer if self.domain == "fer" else joint.ier


@dataclass(frozen=True)
class PretrainedNetwork:
    """A network of any architecture with pretrained weights, or freshly initialized ones."""

    model: ModelSettings
    normalization: Normalization
    weights: str | None
    """See :func:`ier_ray.models.weights.load_pretrained`; None for the initial weights alone."""
    seed: int
    """Of the layers that are not pretrained; the same on every worker."""
    classes: int = OUTPUTS
    """Of the output layer."""

    @property
    def preprocessing(self) -> Preprocessing:
        """Of the size and normalization given."""
        return Preprocessing(self.model.image_size, self.normalization, self.model.reads_captions)

    def seen(self) -> SeenRows:
        """None: what published weights were trained on is not known."""
        return SeenRows.none()

    def outline(self) -> EmotionClassifier:
        """The architecture.

        Raises:
            CheckpointError: when the weights are missing or do not fit it.
        """
        network = _outline(self.model, self.classes)
        if self.weights is not None:
            load_pretrained([network], self.weights)
        return network

    def load(self) -> EmotionClassifier:
        """Initialize the network, then fill its backbone."""
        torch.manual_seed(self.seed)
        network = build_network(self.model, num_classes=self.classes)
        if self.weights is not None:
            load_pretrained([network], self.weights)
        return network.eval()


@dataclass
class NetworkStage:
    """Ray Data stage: an actor with a copy of the network, on a GPU if it has one."""

    source: NetworkSource

    def __post_init__(self) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = self.source.load().to(self._device)

    def _inputs(self, batch: dict[str, Any]) -> Tensor:
        """A batch of decoded rows as the network reads them."""
        pixels = torch.tensor(batch["image"], device=self._device)  # a copy: Ray's is read-only
        return self.source.preprocessing.inputs(pixels)


@dataclass
class Extract(NetworkStage):
    """Returns sample ids and features."""

    layer: str | None
    pool: Pool

    @torch.inference_mode()
    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Features of a batch of decoded rows."""
        features = layer_features(
            self._network, self._inputs(batch), layer=self.layer, pool=self.pool
        )
        return {"sample_id": batch["sample_id"], "features": features.float().cpu().numpy()}


def require_layer(source: NetworkSource, layer: str | None, pool: Pool) -> None:
    """Check the weights and the layer before the cluster starts to work.

    Raises:
        SettingsError: when the layer does not exist or has no features.
        CheckpointError: when pretrained weights are missing or do not fit.
    """
    network = source.outline()
    if not source.model.reads_captions:
        side = source.model.image_size
        images = torch.zeros(2, 3, side, side, device="meta")
        layer_features(network, images, layer=layer, pool=pool)
    elif layer is not None:  # caption_bert reads values of its mask, so it cannot run here
        layer_named(network, layer)


def _outline(model: ModelSettings, classes: int) -> EmotionClassifier:
    with torch.device("meta"):
        return build_network(model, num_classes=classes).eval()


def extract_features(
    source: NetworkSource,
    reader: RowReader,
    index: RowIndex,
    *,
    layer: str | None = None,
    pool: Pool = "mean",
    workers: int = 1,
) -> NDArray[np.float32]:
    """Features ``(N, d)`` of the rows of an index, in its order.

    Args:
        reader: gives the source's input (see :meth:`Preprocessing.reader`).
        index: N rows, at least one; each sample occurs once.
        layer, pool: see :func:`ier_ray.models.features.layer_features`.
        workers: copies of the network.

    Raises:
        SettingsError, CheckpointError: see :func:`require_layer`.
    """
    require_layer(source, layer, pool)
    computed = infer(reader, tasks_of(index), Extract, (source, layer, pool), workers=workers)
    ids = hash_ids(computed["sample_id"].tolist()).tolist()
    position = {key: row for row, key in enumerate(ids)}
    found: NDArray[np.float32] = computed["features"][[position[k] for k in index.hash.tolist()]]
    return found
