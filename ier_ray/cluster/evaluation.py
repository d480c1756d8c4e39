"""Evaluation of a checkpoint on a shard set, by batch prediction on the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score

from ier_ray.cluster.streams import decoded_rows, tasks_ahead
from ier_ray.data.captions import require_captions
from ier_ray.data.order import held_out_tasks
from ier_ray.data.schema import Domain, require_scheme
from ier_ray.data.shards import ShardSet
from ier_ray.data.streams import SplitIndex
from ier_ray.inference import Recognizer
from ier_ray.storage import absolute
from ier_ray.training.checkpoint import read_checkpoint_manifest, require_network

BATCH = 64
"""Images per forward pass."""
WINDOW = 8
"""Row groups per read task."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one network on its domain's held-out fold."""

    domain: Domain
    samples: int
    accuracy: float
    f1: dict[str, float]
    """F1 of each class."""
    classes: tuple[str, ...]
    confusion: list[list[int]]
    """Rows are true classes, columns predicted ones, both in the order of ``classes``."""


@dataclass
class Predict:
    """Ray Data stage: an actor with a copy of the network; returns labels and predictions."""

    checkpoint: str
    domain: Domain

    def __post_init__(self) -> None:
        self._recognizer = Recognizer.load(self.checkpoint)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Predict a batch of decoded rows."""
        probabilities = self._recognizer.probabilities(batch["image"], domain=self.domain)
        return {"label": batch["label"], "predicted": probabilities.argmax(1)}


def evaluate(
    checkpoint: str, location: str, *, domain: Domain, val_fold: int, workers: int = 1
) -> Evaluation:
    """Predict a held-out fold with ``workers`` copies of the network, and compute the metrics.

    Raises:
        CheckpointError, DataError: when the checkpoint or shard set is missing, their schemes
            differ, or the network reads captions and there are none.
    """
    manifest = read_checkpoint_manifest(checkpoint)
    require_network(manifest, checkpoint, domain)
    shards = ShardSet.open(location)
    require_scheme(shards.manifest, manifest.label_scheme, location)
    if manifest.model.reads_captions:
        require_captions(shards)
    held_out = SplitIndex.read(shards, val_fold=val_fold).validation
    tasks = held_out_tasks(held_out, rank=0, world_size=1, window=WINDOW)
    reader = manifest.preprocessing.reader(shards.files, shards.scheme.classes)
    predictions = decoded_rows(reader, tasks, ahead=tasks_ahead(streams=1)).map_batches(
        Predict,
        fn_constructor_args=(absolute(checkpoint), domain),
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_gpus=1 if ray.cluster_resources().get("GPU") else 0,
    )
    batches = list(predictions.iter_batches(batch_size=None, batch_format="numpy"))
    truth, predicted = (
        np.concatenate([batch[name] for batch in batches]) for name in ("label", "predicted")
    )
    return compare(domain, truth, predicted, shards.scheme.classes)


def compare(
    domain: Domain,
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: tuple[str, ...],
) -> Evaluation:
    """Accuracy, F1 and confusion matrix of predicted class indices."""
    indices = np.arange(len(classes))
    f1 = f1_score(truth, predicted, labels=indices, average=None, zero_division=0.0)
    return Evaluation(
        domain=domain,
        samples=len(truth),
        accuracy=float((truth == predicted).mean()),
        f1=dict(zip(classes, f1.tolist(), strict=True)),
        classes=classes,
        confusion=confusion_matrix(truth, predicted, labels=indices).tolist(),
    )
