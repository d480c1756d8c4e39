"""Shared by training, sweeps and cross-validation: checks, recorded settings, outcomes."""

from __future__ import annotations

import logging
from typing import Any

import ray.train

from ier_ray import storage
from ier_ray.cluster.connection import DATA_CPUS, Demand, require
from ier_ray.cluster.streams import open_splits
from ier_ray.cluster.worker import checkpoint_location
from ier_ray.data.captions import require_captions
from ier_ray.data.provenance import check_start, check_test_rows
from ier_ray.data.schema import require_scheme
from ier_ray.data.shards import ShardSet
from ier_ray.errors import SettingsError, TrainingError
from ier_ray.models.captions import transformers
from ier_ray.training.checkpoint import read_seen_rows
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import RunProgress

logger = logging.getLogger(__name__)

BEST_BY = "score"
"""Metric by which the best epoch and trial are chosen: the value of ``schedule.criterion``."""
CHANGEABLE = ("schedule", "scaling", "tracking")
"""Settings that may change when a run is resumed."""


def check_data(settings: TrainSettings) -> None:
    """Raise if shard sets are missing, lack captions, a part or a class, or do not fit together.

    No test image may be among what trains or selects, be it in the other domain or in the
    checkpoint that the run starts from.
    """
    opened = {domain: ShardSet.open(settings.data.location(domain)) for domain in settings.domains}
    first, *others = opened.values()
    for other in others:
        require_scheme(first.manifest, other.scheme, first.location)
    for domain, shards in opened.items():
        if shards.manifest.domain != domain:
            raise SettingsError(
                f"data.{domain} is {shards.location}, a shard set of domain "
                f"{shards.manifest.domain!r}; give one of domain {domain!r}"
            )
    if settings.model.reads_captions:
        transformers()  # if it is missing here, it is missing on the workers
        require_captions(*opened.values())
    splits = open_splits(settings)
    for domain, split in splits.items():
        if settings.reads_labels(domain) and not settings.data.allow_empty_classes:
            split.shards.require_all_classes()
    check_test_rows(splits)
    start = settings.schedule.fer_checkpoint
    if start is not None:
        check_start(splits, read_seen_rows(start), start)


def check_capacity(settings: TrainSettings, *, driver_cpus: float = 0.0) -> None:
    """Raise if the workers, their driver, and one CPU for reading data can never fit."""
    scaling = settings.scaling
    workers = scaling.fewest_workers * scaling.cpus_per_worker
    gpus = float(scaling.fewest_workers) if scaling.use_gpu else 0.0
    require(
        Demand(cpus=workers + driver_cpus + DATA_CPUS, gpus=gpus),
        what=f"training with {scaling.fewest_workers} workers of {scaling.cpus_per_worker:g} CPUs "
        f"and {DATA_CPUS:g} CPU to read data",
        cure="lower scaling.num_workers or scaling.cpus_per_worker",
    )


def claim_settings(location: str, asked: dict[str, Any], *, what: str) -> bool:
    """Record the settings of a run, or check them against the record of the run it continues.

    Returns:
        Whether an earlier run exists, which this one continues.

    Raises:
        SettingsError: naming the settings that differ.
    """
    if storage.create_json(location, asked):
        return False
    recorded = storage.read_json(location)
    changed = [
        f"{name} was {recorded.get(name)}, is {value}"
        for name, value in asked.items()
        if name not in CHANGEABLE and value != recorded.get(name)
    ]
    if changed:
        raise SettingsError(
            f"{what} exists with other settings ({location}): {'; '.join(changed)}. "
            f"Give another --name, or remove it"
        )
    logger.info("%s exists: resuming it", what)
    storage.write_json(location, asked)
    return True


def outcome(result: ray.train.Result) -> RunProgress:
    """The progress that rank 0 returned.

    Raises:
        TrainingError: when rank 0 returned one.
    """
    if isinstance(result.return_value, TrainingError):
        raise result.return_value
    progress: RunProgress = result.return_value
    return progress


def best_checkpoint(result: ray.train.Result) -> tuple[str, dict[str, Any]]:
    """Location and metrics of the epoch with the best score; of equals Ray keeps the latest."""
    checkpoint, metrics = max(
        result.best_checkpoints, key=lambda pair: (pair[1][BEST_BY], pair[1]["epoch"])
    )
    return checkpoint_location(checkpoint), metrics
