"""Linear probe of a frozen network on a shard set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ier_ray import storage
from ier_ray.cluster.features import NetworkSource, extract_features
from ier_ray.data.parts import TEST, VAL
from ier_ray.data.shards import RowIndex
from ier_ray.data.splits import SplitIndex
from ier_ray.errors import DataError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.probe import fit_probe
from ier_ray.evaluation.summary import Evaluation, evaluate_predictions
from ier_ray.models.features import Pool
from ier_ray.records import predictions_of_rows


@dataclass(frozen=True)
class ProbeResult:
    """What a linear classifier reads from the features."""

    features: int
    """Features per image."""
    regularization: float
    """C of the logistic regression, chosen on the validation part."""
    validation_log_loss: dict[float, float]
    """Log loss of the validation part for each C."""
    validation: Evaluation
    """On the part that chose C: no result."""
    test: Evaluation
    predictions: str | None
    """File with the predictions of both parts, if it was asked for."""


def probe(
    source: NetworkSource,
    split: SplitIndex,
    *,
    layer: str | None = None,
    pool: Pool = "mean",
    workers: int = 1,
    run: str,
    seed: int,
    output: str | None = None,
) -> ProbeResult:
    """Extract features on the cluster, fit a probe here, and measure it.

    Args:
        split: the probe is fit on the training rows, the validation rows choose its regularization,
            and it is tested on the test rows.
        layer, pool: see :func:`ier_ray.models.features.layer_features`.
        workers: copies of the network.
        run: name that the predictions carry.
        seed: that the predictions carry, and of the bootstrap.
        output: Parquet file for the predictions of the validation and test parts.

    Raises:
        SettingsError: when the layer does not exist or has no features.
        CheckpointError: when pretrained weights are missing or do not fit.
        DataError: when the network has seen test rows.
        StorageError: when the output cannot be written.
        CapacityError: when the workers can never fit on the cluster.
    """
    if output is not None:
        storage.check_writable(output)
    shards = split.shards
    seen = source.seen().among(split.test.pixels)
    if seen.any():
        raise DataError(
            f"{shards.location}: {int(seen.sum())} of the {len(seen)} test rows trained or "
            f"selected the network of {run}; divide the rows as its manifest says "
            f"(split.test_fold, split.rule)"
        )
    reader = source.preprocessing.reader(shards.files, shards.scheme.classes)
    rows = RowIndex.concatenated([split.train, split.validation, split.test])
    features = extract_features(source, reader, rows, layer=layer, pool=pool, workers=workers)
    train, validation, test = np.split(
        features, np.cumsum([len(split.train), len(split.validation)])
    )
    fitted = fit_probe(
        train,
        split.train.label,
        validation,
        split.validation.label,
        classes=len(reader.classes),
    )
    kept = Predictions.concatenated(
        [
            predictions_of_rows(
                shards,
                index,
                fitted.probabilities(own),
                parts=np.full(len(index), part, dtype=np.int8),
                seen=np.full(len(index), part == VAL),
                run=run,
                seed=seed,
            )
            for part, index, own in ((VAL, split.validation, validation), (TEST, split.test, test))
        ]
    )
    if output is not None:
        kept.write(output)
    domain = shards.manifest.domain
    return ProbeResult(
        features=features.shape[1],
        regularization=fitted.regularization,
        validation_log_loss=fitted.validation_log_loss,
        validation=evaluate_predictions(kept, domain=domain, part="val", seed=seed),
        test=evaluate_predictions(kept, domain=domain, part="test", seed=seed),
        predictions=output,
    )
