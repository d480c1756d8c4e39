"""Shared by training, sweeps and cross-validation: checks, recorded settings, outcomes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray.train

from ier_ray import storage
from ier_ray.cluster.capacity import require
from ier_ray.cluster.packing import Group
from ier_ray.cluster.stream_limits import READ_CPUS
from ier_ray.cluster.streams import open_splits
from ier_ray.cluster.worker import checkpoint_location
from ier_ray.config import flattened
from ier_ray.data.fitting import Given, open_fitting
from ier_ray.data.order import epoch_order
from ier_ray.data.provenance import check_start, check_test_rows
from ier_ray.data.schema import Domain
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.errors import IerRayError, SettingsError
from ier_ray.models.captions import transformers
from ier_ray.training.checkpoint import read_seen_rows
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import RunProgress, check_initial_weights
from ier_ray.training.tracking import require_tracking

logger = logging.getLogger(__name__)

BEST_BY = "score"
"""Metric by which the best epoch and trial are chosen: the value of ``schedule.criterion``."""
CHANGEABLE = ("schedule", "scaling", "tracking")
"""Settings that may change when a run is resumed."""


def check_run(settings: TrainSettings) -> None:
    """Raise if a run cannot start, as far as that can be known without a cluster.

    Raises:
        SettingsError: when settings do not fit the data or the network, or MLflow cannot be used.
        DataError: as :func:`check_data`.
        CheckpointError: when weights that the run starts from are missing or do not fit.
        StorageError: when the run's directory cannot be written.
    """
    require_tracking(settings.tracking)
    check_data(settings)
    scheme = ShardSet.open(settings.data.location(settings.domains[0])).scheme
    check_initial_weights(settings, scheme)
    storage.check_writable(storage.join(settings.storage, settings.name), directory=True)


def check_data(settings: TrainSettings) -> None:
    """Raise if shard sets are missing, lack captions, a part or a class, or do not fit together.

    No test image may be among what trains or selects, be it in the other domain or in the
    checkpoint that the run starts from.
    """
    if settings.model.reads_captions:
        transformers()  # if it is missing here, it is missing on the workers
    open_fitting(
        [Given(f"data.{d}", settings.data.location(d), d) for d in settings.sources],
        captions=settings.model.reads_captions,
    )
    splits = open_splits(settings)
    for domain, split in splits.items():
        if settings.reads_labels(domain) and not settings.data.allow_empty_classes:
            split.shards.require_all_classes()
    check_test_rows(splits)
    check_batch(settings, splits)
    start = settings.schedule.fer_checkpoint
    if start is not None:
        check_start(splits, read_seen_rows(start), start)


def check_batch(settings: TrainSettings, splits: Mapping[Domain, SplitIndex]) -> None:
    """Raise :class:`SettingsError` if a step would have to take images of a domain twice."""
    batch, workers = settings.optimizer.batch_size, settings.scaling.num_workers
    for domain, split in splits.items():
        order = epoch_order(
            split.train,
            seed=settings.seed,
            epoch=0,
            balance=settings.class_balance(domain),
            window=settings.data.shuffle_window,
        )
        if batch * workers > len(order.rows):
            raise SettingsError(
                f"optimizer.batch_size is {batch}: a step of {workers} workers takes "
                f"{batch * workers} images, but an epoch of data.{domain} has {len(order.rows)}; "
                f"lower it, or scaling.num_workers"
            )


def check_capacity(settings: TrainSettings, *, driver_cpus: float = 0.0) -> None:
    """Raise if the workers, their driver, and one CPU for reading data can never fit."""
    scaling = settings.scaling
    require(
        replace(group_of(settings, driver_cpus=driver_cpus), workers=scaling.fewest_workers),
        beside=READ_CPUS,
        what=f"training with {scaling.fewest_workers} workers of {scaling.cpus_per_worker:g} CPUs "
        f"and {READ_CPUS:g} CPUs to read data",
        cure="lower scaling.num_workers or scaling.cpus_per_worker, or add nodes",
    )


def group_of(settings: TrainSettings, *, driver_cpus: float = 0.0) -> Group:
    """What a run holds as long as it trains."""
    scaling = settings.scaling
    return Group(
        workers=scaling.num_workers,
        cpus=scaling.cpus_per_worker,
        gpus=1.0 if scaling.use_gpu else 0.0,
        driver_cpus=driver_cpus,
    )


def claim_settings(
    location: str, asked: dict[str, Any], *, what: str, changeable: Sequence[str] = CHANGEABLE
) -> bool:
    """Record the settings of a run, or check them against the record of the run it continues.

    Args:
        changeable: dotted names of the settings and sections that may be others than before.

    Returns:
        Whether an earlier run exists, which this one continues.

    Raises:
        SettingsError: naming the settings that differ.
    """
    if storage.create_json(location, asked):
        return False
    before, now = (dict(flattened(values)) for values in (storage.read_json(location), asked))
    changed = [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
        and not any(name == free or name.startswith(f"{free}.") for free in changeable)
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
        IerRayError: when rank 0 returned one.
    """
    if isinstance(result.return_value, IerRayError):
        raise result.return_value
    progress: RunProgress = result.return_value
    return progress


def best_checkpoint(result: ray.train.Result) -> tuple[str, dict[str, Any]]:
    """Location and metrics of the epoch with the best score; of equals Ray keeps the latest."""
    checkpoint, metrics = max(
        result.best_checkpoints, key=lambda pair: (pair[1][BEST_BY], pair[1]["epoch"])
    )
    return checkpoint_location(checkpoint), metrics
