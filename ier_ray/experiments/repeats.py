"""The folds and seeds with which a unit is repeated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ier_ray.data.schema import Domain
from ier_ray.errors import SettingsError
from ier_ray.experiments.datasets import Dataset
from ier_ray.experiments.grid import Grid
from ier_ray.experiments.settings import ExperimentSettings
from ier_ray.experiments.units import Unit
from ier_ray.training.settings import TrainSettings


def repeated(
    unit: Unit, settings: ExperimentSettings, grid: Grid, chosen: Mapping[Domain, Dataset]
) -> Iterator[Unit]:
    """A unit on each test fold with each seed.

    Raises:
        SettingsError: when the data have too few folds, or the domains different numbers.
    """
    scale = grid.scales[settings.scale]
    seeds = scale.seeds if settings.seeds is None else range(settings.seeds)
    for seed in seeds:
        for fold in range(number_of_folds(unit.train, settings, scale.folds, chosen)):
            data = unit.train.data.model_copy(update={"test_fold": fold})
            train = unit.train.model_copy(update={"seed": seed, "data": data})
            yield replace(unit, train=train)


def number_of_folds(
    train: TrainSettings,
    settings: ExperimentSettings,
    default: int | None,
    chosen: Mapping[Domain, Dataset],
) -> int:
    """Test folds of a cell: one where the IER data are divided by their own split."""
    divided = [domain for domain in train.sources if train.split_plan(domain).rule != "own"]
    if "ier" in train.sources and "ier" not in divided:
        return 1
    there = {domain: chosen[domain].folds for domain in divided}
    if len(set(there.values())) > 1:
        raise SettingsError(
            f"data: {chosen['fer'].location} has {there['fer']} folds, {chosen['ier'].location} "
            f"has {there['ier']}; ingest one of them again with the other's --folds"
        )
    available = next(iter(there.values()), 1)
    asked = settings.folds or default or available
    if asked > available:
        raise SettingsError(f"folds is {asked}, but the data have {available}")
    return asked
