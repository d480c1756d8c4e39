"""Controls that train no network: the majority class, and linear models on fixed features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ier_ray.cluster.streams import open_splits
from ier_ray.data.order import held_out_tasks
from ier_ray.data.parts import TEST
from ier_ray.data.shards import RowIndex
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import ExecuteReads
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.probe import fit_probe
from ier_ray.models.features import layer_features
from ier_ray.models.registry import build_network
from ier_ray.models.weights import load_pretrained
from ier_ray.records import predictions_of_rows
from ier_ray.training.settings import TrainSettings

PIXEL_SIDE = 16
"""Side that images are reduced to for the logistic regression on pixels."""
AT_ONCE = 256

Features = NDArray[np.float32]


def control_predictions(
    method: str, settings: TrainSettings, execute: ExecuteReads, *, run: str
) -> Predictions:
    """A control's predictions on the IER test rows of a run that has these settings.

    Args:
        method: one of :data:`CONTROLS`.
    """
    split = open_splits(settings)["ier"]
    count = len(split.test)
    return predictions_of_rows(
        split.shards,
        split.test,
        CONTROLS[method](settings, split, execute),
        parts=np.full(count, TEST, dtype=np.int8),
        seen=np.zeros(count, dtype=bool),
        run=run,
        seed=settings.seed,
    )


def majority(
    settings: TrainSettings,  # noqa: ARG001
    split: SplitIndex,
    execute: ExecuteReads,  # noqa: ARG001
) -> NDArray[np.float64]:
    """The class frequencies of the training rows, for every test row."""
    counts = np.bincount(split.train.label, minlength=len(split.shards.scheme.classes))
    return np.tile(counts / counts.sum(), (len(split.test), 1))


def pixels(
    settings: TrainSettings, split: SplitIndex, execute: ExecuteReads
) -> NDArray[np.float64]:
    """Logistic regression on normalized images of :data:`PIXEL_SIDE` pixels."""

    def reduced(images: torch.Tensor) -> torch.Tensor:
        small = torch.nn.functional.interpolate(images, (PIXEL_SIDE, PIXEL_SIDE), mode="area")
        return small.flatten(1)

    return linear(reduced, settings, split, execute)


def features(
    settings: TrainSettings, split: SplitIndex, execute: ExecuteReads
) -> NDArray[np.float64]:
    """Linear probe of the network as a training would start it: pretrained, or as drawn."""
    torch.manual_seed(settings.seed)
    network = build_network(settings.model, num_classes=len(split.shards.scheme.classes))
    if settings.schedule.pretrained is not None:
        load_pretrained([network], settings.schedule.pretrained)
    network.eval()

    def probed(images: torch.Tensor) -> torch.Tensor:
        return layer_features(network, images)

    return linear(probed, settings, split, execute)


def linear(
    extract: Callable[[torch.Tensor], torch.Tensor],
    settings: TrainSettings,
    split: SplitIndex,
    execute: ExecuteReads,
) -> NDArray[np.float64]:
    """Probabilities of the test rows by a linear model that validation rows regularize."""
    found = [
        extracted(extract, settings, split, rows, execute)
        for rows in (split.train, split.validation, split.test)
    ]
    probe = fit_probe(
        found[0],
        split.train.label,
        found[1],
        split.validation.label,
        classes=len(split.shards.scheme.classes),
    )
    return probe.probabilities(found[2])


@torch.inference_mode()
def extracted(
    extract: Callable[[torch.Tensor], torch.Tensor],
    settings: TrainSettings,
    split: SplitIndex,
    rows: RowIndex,
    execute: ExecuteReads,
) -> Features:
    """Features ``(N, d)`` of rows, in their order."""
    reader = settings.preprocessing.reader(split.files, split.shards.scheme.classes)
    tasks = held_out_tasks(rows, rank=0, world_size=1, window=settings.data.shuffle_window)
    parts = []
    for batch in execute(reader, tasks, AT_ONCE):
        inputs = settings.preprocessing.inputs(torch.as_tensor(np.array(batch["image"])))
        parts.append(extract(inputs).float().numpy())
    return np.concatenate(parts)


CONTROLS: dict[str, Callable[[TrainSettings, SplitIndex, ExecuteReads], NDArray[np.float64]]] = {
    "majority": majority,
    "pixels": pixels,
    "features": features,
}
"""Controls by their names in grids."""
