"""k-fold cross-validation: one training run per held-out fold, and their mean and spread."""

from __future__ import annotations

import logging
import statistics
import time
from dataclasses import asdict, dataclass

from ier_ray import storage
from ier_ray.cluster.runs import check_data, claim_settings
from ier_ray.cluster.trainer import run_training
from ier_ray.data.shards import ShardSet
from ier_ray.errors import SettingsError
from ier_ray.training.settings import TrainSettings
from ier_ray.training.tracking import require_tracking

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spread:
    """Mean and spread of a validation metric over the folds."""

    mean: float
    std: float
    """Sample standard deviation (n - 1)."""


@dataclass(frozen=True)
class CrossValidation:
    """Outcome of all folds."""

    location: str
    """Directory of the runs, ``fold-0`` and so on."""
    metrics: dict[str, Spread]
    """Each metric over the folds' best epochs."""
    folds: list[dict[str, float]]
    """The best epoch's metrics of each fold."""
    checkpoints: list[str]
    seconds: float


def cross_validate(settings: TrainSettings) -> CrossValidation:
    """Train once per fold; ``data.val_fold`` of the settings is ignored.

    With the name and settings of an earlier cross-validation, it resumes: each fold continues from
    its last checkpoint, and finished folds are not trained again.

    Raises:
        SettingsError: when the two domains were not divided into equally many folds, or the
            cross-validation exists with other settings.
        IerRayError: as :func:`ier_ray.cluster.trainer.run_training`.
    """
    started = time.perf_counter()
    settings = settings.located()
    check_data(settings)
    require_tracking(settings.tracking)
    count = number_of_folds(settings)
    location = storage.join(settings.storage, settings.name)
    claim_settings(
        storage.join(location, "settings.json"),
        settings.model_dump(mode="json"),
        what=f"cross-validation {settings.name!r}",
    )
    results = [run_fold(settings, location, fold, count) for fold in range(count)]
    found = CrossValidation(
        location=location,
        metrics=spreads([metrics for metrics, _ in results]),
        folds=[metrics for metrics, _ in results],
        checkpoints=[checkpoint for _, checkpoint in results],
        seconds=time.perf_counter() - started,
    )
    storage.write_json(storage.join(location, "crossvalidation.json"), asdict(found))
    logger.info("%s", table(found))
    return found


def number_of_folds(settings: TrainSettings) -> int:
    """Number of folds, the same in both domains.

    Raises:
        SettingsError: when the two domains have different numbers of folds.
    """
    folds = [
        ShardSet.open(settings.data.location(domain)).manifest.folds for domain in settings.domains
    ]
    if len(set(folds)) > 1:
        raise SettingsError(
            f"data.fer has {folds[0]} folds, data.ier has {folds[1]}; cross-validation holds the "
            f"same fold of both out: ingest one of them again with the other's --folds"
        )
    return folds[0]


def run_fold(
    settings: TrainSettings, location: str, fold: int, count: int
) -> tuple[dict[str, float], str]:
    """Metrics and checkpoint of one fold's run."""
    logger.info("fold %d of %d", fold + 1, count)
    result = run_training(fold_settings(settings, location, fold))
    return result.metrics, result.checkpoint


def fold_settings(settings: TrainSettings, location: str, fold: int) -> TrainSettings:
    """The settings of one fold's run."""
    data = settings.data.model_copy(update={"val_fold": fold})
    changes = {"name": f"fold-{fold}", "storage": location, "data": data}
    return settings.model_copy(update=changes)


def spreads(folds: list[dict[str, float]]) -> dict[str, Spread]:
    """Mean and standard deviation of each metric."""
    columns = {name: [metrics[name] for metrics in folds] for name in folds[0]}
    return {
        name: Spread(statistics.fmean(values), statistics.stdev(values))
        for name, values in columns.items()
    }


def table(found: CrossValidation) -> str:
    """The folds as a text table."""
    names = list(found.metrics)
    lines = ["fold  " + "  ".join(f"{name:>16}" for name in names)]
    for fold, metrics in enumerate(found.folds):
        lines.append(f"{fold:<4}  " + "  ".join(f"{metrics[name]:16.4f}" for name in names))
    ends = (f"{spread.mean:.4f} ± {spread.std:.4f}" for spread in found.metrics.values())
    lines.append("mean  " + "  ".join(f"{end:>16}" for end in ends))
    return "\n".join(lines)
