"""Training with the best setting of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError, model_validator

from ier_ray import storage
from ier_ray.config import Location, in_one_line, merged
from ier_ray.errors import SettingsError, StorageError
from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.settings import SweepSettings
from ier_ray.tuning.trials import TrialStore, rank

OF_TRIALS = {"name", "storage"}
"""Settings that a sweep gives to its trials."""


class TrainJobSettings(TrainSettings):
    """A training run, with the best setting of a sweep where others are not given."""

    from_sweep: Location | None = None
    """A sweep's directory: train with the setting of its best trial. The file and the flags of this
    run override it. None: train with the defaults."""

    @model_validator(mode="before")
    @classmethod
    def _over_the_sweep(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("from_sweep") is None:
            return given
        try:
            best = best_setting(str(given["from_sweep"]))
        except (SettingsError, StorageError) as error:
            raise ValueError(f"from_sweep: {error}") from error
        return merged(best.model_dump(mode="json", exclude=OF_TRIALS), dict(given))

    def run(self) -> TrainSettings:
        """The settings of the run."""
        return TrainSettings.model_validate(self.model_dump(mode="json", exclude={"from_sweep"}))


def best_setting(sweep: str) -> TrainSettings:
    """The settings of a sweep's best trial.

    Raises:
        SettingsError: when there is no sweep, or no trial of it has ended well.
        StorageError: when it cannot be read.
    """
    store = TrialStore(storage.absolute(sweep))
    record = storage.join(store.location, "settings.json")
    if not storage.exists(record):
        raise SettingsError(f"{sweep} is no sweep (settings.json is missing)")
    try:
        settings = SweepSettings.model_validate(storage.read_json(record))
    except ValidationError as error:
        raise SettingsError(f"{record} is not of a sweep: {in_one_line(error)}") from error
    ended = [one for one in store.all() if one.ranked]
    if not ended:
        raise SettingsError(f"{sweep} has no trial that has ended well")
    return store.settings(settings.train, min(ended, key=rank))
