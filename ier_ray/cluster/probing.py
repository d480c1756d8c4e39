"""Linear probe of a frozen network on a shard set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ier_ray.cluster.features import NetworkSource, extract_features
from ier_ray.data.captions import require_captions
from ier_ray.data.shards import RowIndex, RowReader, ShardSet
from ier_ray.data.streams import SplitIndex
from ier_ray.errors import DataError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.probe import fit_probe
from ier_ray.evaluation.summary import Evaluation, evaluate_predictions
from ier_ray.models.features import Pool


@dataclass(frozen=True)
class ProbeParts:
    """Rows that the probe is fit on, that choose its regularization, and that it is tested on."""

    train: RowIndex
    validation: RowIndex
    test: RowIndex

    @classmethod
    def read(cls, shards: ShardSet, *, test_fold: int, val_fold: int) -> ProbeParts:
        """Parts by fold; all other folds are for training.

        Raises:
            DataError: when a fold does not exist or a part is empty.
        """
        split = SplitIndex.read(shards, val_fold=test_fold)
        inner = split.train.fold == val_fold
        parts = cls(split.train.select(~inner), split.train.select(inner), split.validation)
        for name, part in vars(parts).items():
            if not len(part):
                raise DataError(
                    f"{shards.location}: test_fold {test_fold} and val_fold {val_fold} leave no "
                    f"rows for {name}; the folds are 0 to {shards.manifest.folds - 1}"
                )
        return parts


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
    shards: ShardSet,
    parts: ProbeParts,
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
        layer, pool: see :func:`ier_ray.models.features.layer_features`.
        workers: copies of the network.
        run: name that the predictions carry.
        seed: that the predictions carry, and of the bootstrap.
        output: Parquet file for the predictions of the validation and test parts.

    Raises:
        SettingsError: when the layer does not exist or has no features.
        CheckpointError: when pretrained weights are missing or do not fit.
        DataError: when the network reads captions and there are none.
    """
    if source.model.reads_captions:
        require_captions(shards)
    reader = source.preprocessing.reader(shards.files, shards.scheme.classes)
    rows = RowIndex.concatenated([parts.train, parts.validation, parts.test])
    features = extract_features(source, reader, rows, layer=layer, pool=pool, workers=workers)
    train, validation, test = np.split(
        features, np.cumsum([len(parts.train), len(parts.validation)])
    )
    fitted = fit_probe(
        train,
        parts.train.label,
        validation,
        parts.validation.label,
        classes=len(reader.classes),
    )
    kept = Predictions.concatenated(
        [
            predictions_of(
                shards, reader, index, fitted.probabilities(own), part=part, run=run, seed=seed
            )
            for part, index, own in (
                ("val", parts.validation, validation),
                ("test", parts.test, test),
            )
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


def predictions_of(
    shards: ShardSet,
    reader: RowReader,
    index: RowIndex,
    probabilities: NDArray[np.float64],
    *,
    part: str,
    run: str,
    seed: int,
) -> Predictions:
    """Predictions of the rows of one part, with the columns that the shard set has of them.

    Those of the parts ``train`` and ``val`` are marked as seen.
    """
    position = {"file": index.file, "row_group": index.row_group, "row": index.row}
    table = reader.table(position, ["sample_id", "group", "dataset"])
    ids, groups, datasets = (
        np.asarray(table[name].to_pylist(), dtype=str) for name in table.column_names
    )
    count = len(index)
    return Predictions(
        sample_ids=ids,
        groups=groups,
        datasets=datasets,
        domains=np.full(count, shards.manifest.domain),
        parts=np.full(count, part),
        folds=index.fold,
        labels=index.label,
        probabilities=probabilities,
        runs=np.full(count, run),
        seeds=np.full(count, seed, dtype=np.int64),
        seen=np.full(count, part != "test"),
        classes=reader.classes,
    )
