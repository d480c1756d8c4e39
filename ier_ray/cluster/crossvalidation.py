"""k-fold cross-validation: each fold is the test part once; results over all test folds."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from ier_ray import storage
from ier_ray.cluster.connection import connect
from ier_ray.cluster.folds import fold_settings, number_of_folds
from ier_ray.cluster.preflight import check_cluster, footprint_of_folds
from ier_ray.cluster.runs import check_data, check_run, claim_settings
from ier_ray.cluster.trainer import TrainResult, run_training
from ier_ray.data.schema import Domain
from ier_ray.errors import SettingsError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.summary import FoldTable, fold_table
from ier_ray.evaluation.tables import folds_as_table
from ier_ray.training.run_files import PREDICTIONS, SETTINGS
from ier_ray.training.settings import TrainSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CrossValidation:
    """Outcome of all folds."""

    location: str
    """Directory of the runs, ``fold-0`` and so on."""
    predictions: str
    """File of all test predictions; everything in ``test`` is computed from it alone."""
    test: dict[Domain, FoldTable]
    """Metrics of each test fold, their mean and spread, and of all folds together."""
    checkpoints: list[str]
    seconds: float


def cross_validate(settings: TrainSettings) -> CrossValidation:
    """Train once per test fold; ``data.test_fold`` of the settings is ignored.

    The validation part, which chooses the epoch, is another fold or is drawn from the others
    (``data.split``). With the name and settings of an earlier cross-validation, it resumes: each
    fold continues from its last checkpoint, and finished folds are not trained again.

    Raises:
        SettingsError: when the folds cannot rotate, or the cross-validation exists with other
            settings.
        IerRayError: as :func:`ier_ray.cluster.trainer.run_training`.
    """
    started = time.perf_counter()
    settings = settings.located()
    domains = rotating_domains(settings)
    count = number_of_folds(settings, domains, use="cross-validation tests")
    location = storage.join(settings.storage, settings.name)
    check_run(fold_settings(settings, location, 0, test_fold=0))
    for fold in range(1, count):  # what differs between folds
        check_data(fold_settings(settings, location, fold, test_fold=fold))
    connect()
    check_cluster(settings, location, footprint_of_folds(settings, count))
    claim_settings(
        storage.join(location, SETTINGS),
        settings.model_dump(mode="json"),
        what=f"cross-validation {settings.name!r}",
    )
    results = [run_fold(settings, location, fold, count) for fold in range(count)]
    predictions = pooled_tests(results)
    predictions.write(storage.join(location, PREDICTIONS))
    found = CrossValidation(
        location=location,
        predictions=storage.join(location, PREDICTIONS),
        test={domain: fold_table(predictions, domain=domain) for domain in domains},
        checkpoints=[result.checkpoint for result in results],
        seconds=time.perf_counter() - started,
    )
    logger.info("%s", folds_as_table(list(found.test.values())))
    return found


def rotating_domains(settings: TrainSettings) -> list[Domain]:
    """The domains whose test part is one fold after another; others have a test part of their own.

    Raises:
        SettingsError: when IER (FER, if alone) has its own split, or the validation fold is fixed.
    """
    if settings.data.val_fold is not None:
        raise SettingsError(
            f"data.val_fold is {settings.data.val_fold}; in cross-validation every fold is the "
            f"test part once: leave it out (the fold after the test fold), or set data.split inner"
        )
    domains = settings.domains
    if settings.split_plan(domains[-1]).rule == "own":
        raise SettingsError(
            "data.split is own: the dataset's own test part cannot rotate; use folds or inner"
        )
    return [domain for domain in domains if settings.split_plan(domain).rule != "own"]


def run_fold(settings: TrainSettings, location: str, fold: int, count: int) -> TrainResult:
    """The run of one test fold."""
    logger.info("fold %d of %d", fold + 1, count)
    return run_training(fold_settings(settings, location, fold, test_fold=fold))


def pooled_tests(results: list[TrainResult]) -> Predictions:
    """The test predictions of all folds' runs."""
    kept = Predictions.concatenated([Predictions.read(result.predictions) for result in results])
    return kept.select(kept.parts == "test")
