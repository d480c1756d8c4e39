"""What is said of a model: its metrics on a part of the data, and over the folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ier_ray.data.schema import Domain
from ier_ray.errors import DataError
from ier_ray.evaluation.intervals import RESAMPLES, Interval, bootstrap_interval
from ier_ray.evaluation.metrics import (
    ConfusionMetric,
    Metrics,
    accuracy,
    balanced_accuracy,
    measure,
)
from ier_ray.evaluation.predictions import UNKNOWN_FOLD, UNKNOWN_PART, Predictions
from ier_ray.evaluation.prior_shift import adjusted

FOLD_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier")
"""Metrics whose mean and standard deviation over folds are given."""


@dataclass(frozen=True, kw_only=True)
class Evaluation(Metrics):
    """The metrics of one domain's images, and what images these are."""

    domain: Domain
    datasets: tuple[str, ...]
    """Names of the datasets, sorted."""
    part: str | None
    """``train``, ``val`` or ``test``; None where the images are of several parts, or unknown."""
    seen: int
    """Images that trained or selected the checkpoint: a result has none."""
    accuracy_interval: Interval | None
    """95 % bootstrap interval over groups; None where there is a single group."""
    balanced_accuracy_interval: Interval | None
    """95 % bootstrap interval over groups; None where there is a single group."""
    adjusted: Metrics | None
    """Metrics after correction for the class frequencies of training; None if not asked for."""


@dataclass(frozen=True)
class FoldMetrics:
    """The metrics of one test fold, as predicted by the run with one seed."""

    fold: int
    seed: int
    metrics: Metrics


@dataclass(frozen=True)
class FoldTable:
    """A domain's test folds, each predicted by a run that did not see it."""

    domain: Domain
    folds: tuple[FoldMetrics, ...]
    """One per fold and seed."""
    mean: dict[str, float]
    """Mean over ``folds`` of each of :data:`FOLD_FIGURES`."""
    std: dict[str, float | None]
    """Their sample standard deviation; None for a single fold. Divided by the root of the number
    of folds it is no standard error: the training sets overlap."""
    pooled: Evaluation
    """All folds' predictions together, with bootstrap intervals over groups."""


def evaluate_predictions(
    predictions: Predictions,
    *,
    domain: Domain,
    part: str | None = None,
    trained_prior: Mapping[str, float] | None = None,
    target_prior: Mapping[str, float] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Metrics and intervals of one domain's predictions.

    Args:
        part: only predictions of this part.
        trained_prior: class frequencies that the network was trained with: uniform where its
            batches were balanced.
        target_prior: class frequencies to adjust to, known without the measured labels: those of
            the training images. With both priors, the metrics after
            :func:`ier_ray.evaluation.prior_shift.adjusted` are computed, too.
        seed: of the bootstrap.

    Raises:
        DataError: when there is no such prediction, or one prior is given without the other.
    """
    mask = predictions.domains == domain
    if part is not None:
        mask &= predictions.parts == part
    chosen = predictions.select(mask)
    if not len(chosen):
        raise DataError(
            f"no prediction is of domain {domain!r}"
            + (f" and part {part!r}; there are {_parts(predictions)}" if part else "")
        )
    metrics = measure(chosen.probabilities, chosen.labels, chosen.classes)
    parts = np.unique(chosen.parts).tolist()
    return Evaluation(
        **vars(metrics),
        domain=domain,
        datasets=tuple(np.unique(chosen.datasets).tolist()),
        part=parts[0] if len(parts) == 1 and parts[0] != UNKNOWN_PART else None,
        seen=int(chosen.seen.sum()),
        accuracy_interval=_interval(accuracy, chosen, seed, resamples),
        balanced_accuracy_interval=_interval(balanced_accuracy, chosen, seed, resamples),
        adjusted=_adjusted(chosen, trained_prior, target_prior),
    )


def fold_table(
    predictions: Predictions, *, domain: Domain, seed: int = 0, resamples: int = RESAMPLES
) -> FoldTable:
    """Metrics of each test fold of a domain, over the folds, and of all folds together.

    Only predictions of the part ``test`` count.

    Raises:
        DataError: when there is none, one has no fold, or an image was predicted twice with one
            seed.
    """
    tested = predictions.select((predictions.domains == domain) & (predictions.parts == "test"))
    unknown = int((tested.folds == UNKNOWN_FOLD).sum())
    if unknown or not len(tested):
        raise DataError(
            f"domain {domain!r} has {len(tested)} test predictions, {unknown} of them without "
            f"fold; a table of folds needs the test fold of each image"
        )
    _require_once(tested)
    rows = []
    for fold, fold_seed in np.unique(np.stack([tested.folds, tested.seeds], 1), axis=0).tolist():
        own = tested.select((tested.folds == fold) & (tested.seeds == fold_seed))
        metrics = measure(own.probabilities, own.labels, own.classes)
        rows.append(FoldMetrics(fold, fold_seed, metrics))
    values = {name: [getattr(row.metrics, name) for row in rows] for name in FOLD_FIGURES}
    several = len(rows) > 1
    return FoldTable(
        domain=domain,
        folds=tuple(rows),
        mean={name: float(np.mean(column)) for name, column in values.items()},
        std={
            name: float(np.std(column, ddof=1)) if several else None
            for name, column in values.items()
        },
        pooled=evaluate_predictions(tested, domain=domain, seed=seed, resamples=resamples),
    )


def _interval(
    metric: ConfusionMetric, predictions: Predictions, seed: int, resamples: int
) -> Interval | None:
    if len(np.unique(predictions.groups)) < 2:
        return None
    return bootstrap_interval(
        metric,
        predictions.probabilities,
        predictions.labels,
        predictions.groups,
        seed=seed,
        resamples=resamples,
    )


def _adjusted(
    predictions: Predictions,
    trained: Mapping[str, float] | None,
    target: Mapping[str, float] | None,
) -> Metrics | None:
    if trained is None and target is None:
        return None
    if trained is None or target is None:
        missing = "trained_prior" if trained is None else "target_prior"
        raise DataError(f"{missing} is missing: an adjustment needs both priors")
    probabilities = adjusted(predictions.probabilities, trained, target)
    return measure(probabilities, predictions.labels, predictions.classes)


def _require_once(predictions: Predictions) -> None:
    keys = list(zip(predictions.sample_ids.tolist(), predictions.seeds.tolist(), strict=True))
    if len(set(keys)) < len(keys):
        raise DataError(
            f"{len(keys) - len(set(keys))} test images were predicted again with the same seed; "
            f"select the predictions of one model"
        )


def _parts(predictions: Predictions) -> list[str]:
    return [name or "unknown" for name in np.unique(predictions.parts).tolist()]
