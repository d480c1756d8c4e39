"""Predictions of a checkpoint on the rows of shard sets, by batch inference on the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ier_ray.cluster.batch_inference import infer, tasks_of
from ier_ray.data.balancing import hash_ids
from ier_ray.data.fitting import Given, open_fitting
from ier_ray.data.order import Columns
from ier_ray.data.parts import NONE, Parts
from ier_ray.data.schema import DOMAINS, PARTS, Domain, Part
from ier_ray.data.shards import RowIndex, ShardSet
from ier_ray.errors import DataError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.summary import Evaluation, evaluate_predictions
from ier_ray.inference import Recognizer
from ier_ray.records import predictions_of_rows
from ier_ray.storage import absolute
from ier_ray.training.checkpoint import (
    CheckpointManifest,
    check_weights,
    read_checkpoint_manifest,
    read_seen_rows,
    require_images,
    require_network,
)
from ier_ray.training.settings import TrainSettings

Asked = Literal[Part, "all"]
"""A part of the data that the checkpoint was trained with, or all rows of any data."""


@dataclass(frozen=True)
class Rows:
    """The rows of one shard set that are to be predicted."""

    domain: Domain
    shards: ShardSet
    index: RowIndex
    parts: Parts
    """Each row's part in the checkpoint's own data, -1 in other data."""
    seen: NDArray[np.bool_]
    """Whether the row, or a copy of its image, trained or selected the checkpoint."""


def choose_sets(
    checkpoint: str,
    manifest: CheckpointManifest,
    given: Sequence[Given],
    *,
    parts: Sequence[Asked],
    allow_seen: bool = False,
) -> list[Rows]:
    """The rows of each shard set that belong to the parts asked for.

    Raises:
        CheckpointError: when the checkpoint has no network of a set's domain.
        SettingsError, DataError: as :func:`~ier_ray.data.fitting.open_fitting`.
        DataError: when a part is asked for of data that the checkpoint was not trained with, or
            rows have been seen in training and that is not allowed.
    """
    for one in given:
        if one.domain is not None:
            require_network(manifest, checkpoint, one.domain)
    opened = open_fitting(
        given, scheme=manifest.label_scheme, captions=manifest.model.reads_captions
    )
    return [_chosen(checkpoint, manifest, shards, parts, allow_seen) for shards in opened]


def choose_rows(
    checkpoint: str,
    manifest: CheckpointManifest,
    location: str,
    *,
    domain: Domain,
    parts: Sequence[Asked],
    allow_seen: bool = False,
) -> Rows:
    """:func:`choose_sets` of one shard set."""
    given = [Given(domain, location, domain)]
    return choose_sets(checkpoint, manifest, given, parts=parts, allow_seen=allow_seen)[0]


def require_same_rows(checkpoints: Sequence[str], chosen: Sequence[Rows]) -> None:
    """Refuse to compare checkpoints on rows that are not held out from all of them.

    Args:
        chosen: the rows of one shard set that :func:`choose_rows` gave for each checkpoint.

    Raises:
        DataError: when they differ.
    """
    first = chosen[0]
    for checkpoint, rows in zip(checkpoints, chosen, strict=True):
        if not np.array_equal(rows.index.hash, first.index.hash):
            raise DataError(
                f"{first.shards.location}: {checkpoints[0]} and {checkpoint} hold out other rows "
                f"({len(first.index)} and {len(rows.index)}); give checkpoints that were trained "
                f"with the same test_fold, val_fold and split"
            )


def _chosen(
    checkpoint: str,
    manifest: CheckpointManifest,
    shards: ShardSet,
    parts: Sequence[Asked],
    allow_seen: bool,
) -> Rows:
    location, domain = shards.location, shards.manifest.domain
    index = shards.index()
    data = manifest.data[domain]
    if shards.manifest.content_hash == data.content_hash:
        own = data.plan.parts(index, shards)
    elif "all" in parts:
        own = np.full(len(index), NONE, dtype=np.int8)
    else:
        raise DataError(
            f"{location}: has content hash {shards.manifest.content_hash[:12]}, but "
            f"{checkpoint} was trained with data of hash {data.content_hash[:12]}: its parts "
            f"({', '.join(parts)}) are unknown here; use part all for other data"
        )
    numbers = [number for number, name in enumerate(PARTS) if name in parts]
    asked = np.full(len(index), "all" in parts) | np.isin(own, numbers)
    chosen = index.select(asked)
    seen = read_seen_rows(checkpoint).among(chosen.pixels)
    if seen.any() and not allow_seen:
        raise DataError(
            f"{location}: {int(seen.sum())} of the {len(chosen)} rows asked for trained or "
            f"selected {checkpoint} ({shards.named(chosen.select(seen))}): "
            f"figures on them are no result; ask for part test, or allow them with --allow-seen, "
            f"which labels them"
        )
    return Rows(domain, shards, chosen, own[asked], seen)


@dataclass
class Predict:
    """Ray Data stage: an actor with a copy of the networks; adds the class probabilities."""

    checkpoint: str
    domains: tuple[Domain, ...]
    """The domain of each set, which the column ``set`` numbers."""
    flip: bool

    def __post_init__(self) -> None:
        self._recognizer = Recognizer.load(self.checkpoint)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Predict a batch of decoded rows."""
        probabilities = np.empty((len(batch["set"]), len(self._recognizer.manifest.classes)))
        for number in np.unique(batch["set"]):
            rows = batch["set"] == number
            probabilities[rows] = self._recognizer.probabilities(
                batch["image"][rows], domain=self.domains[number], flip=self.flip
            )
        return {
            "set": batch["set"],
            "sample_id": batch["sample_id"],
            "probabilities": probabilities,
        }


def predict(
    checkpoint: str,
    sets: Sequence[Rows],
    *,
    run: str | None = None,
    workers: int = 1,
    flip: bool = False,
) -> list[Predictions]:
    """Predict chosen rows of each shard set, with ``workers`` copies of the networks.

    Args:
        run: name of the run in the predictions; by default the checkpoint's location.
        flip: average the probabilities of each image and its mirror image.

    Raises:
        CheckpointError: when the checkpoint is damaged, or ``flip`` is asked for of captions.
        CapacityError: when the workers can never fit on the cluster.
    """
    manifest = read_checkpoint_manifest(checkpoint)
    if flip:
        require_images(manifest, checkpoint, use="with flip")
    check_weights(checkpoint, manifest)
    files: tuple[str, ...] = ()
    tasks: list[Columns] = []
    for number, rows in enumerate(sets):
        moved = replace(rows.index, file=rows.index.file + np.int32(len(files)))
        files += rows.shards.files
        for task in tasks_of(moved):
            numbers = np.full(len(task["row"]), number, dtype=np.int32)
            tasks.append({**task, "set": numbers})
    reader = manifest.preprocessing.reader(files, tuple(manifest.classes))
    domains = tuple(rows.domain for rows in sets)
    arguments = (absolute(checkpoint), domains, flip)
    computed = infer(reader, tasks, Predict, arguments, workers=workers)
    hashes = hash_ids(computed["sample_id"].tolist()).tolist()
    keys = zip(computed["set"].tolist(), hashes, strict=True)
    found = dict(zip(keys, computed["probabilities"], strict=True))
    return [
        predictions_of_rows(
            rows.shards,
            rows.index,
            np.stack([found[number, key] for key in rows.index.hash.tolist()]),
            parts=rows.parts,
            seen=rows.seen,
            run=run or checkpoint,
            seed=manifest.seed,
        )
        for number, rows in enumerate(sets)
    ]


def predict_held_out(checkpoint: str, settings: TrainSettings) -> Predictions:
    """Predict the validation and test rows of a run's data with the run's checkpoint."""
    manifest = read_checkpoint_manifest(checkpoint)
    sets = [
        choose_rows(
            checkpoint,
            manifest,
            settings.data.location(domain),
            domain=domain,
            parts=("val", "test"),
            allow_seen=True,
        )
        for domain in settings.domains
    ]
    return Predictions.concatenated(predict(checkpoint, sets, run=settings.name))


def tested(predictions: Predictions) -> dict[Domain, Evaluation]:
    """Metrics of each domain's test rows."""
    return {
        domain: evaluate_predictions(predictions, domain=domain, part="test")
        for domain in DOMAINS
        if np.any(predictions.domains == domain)
    }
