"""The results of units on disk or S3: written at once, so that no finished one is repeated."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from ier_ray import storage
from ier_ray.config import in_one_line
from ier_ray.errors import DataError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.experiments.units import UnitResult


@dataclass(frozen=True)
class UnitStore:
    """Results by key, shared by all experiments of one storage.

    Attributes:
        location: a directory or ``s3://`` URI.
    """

    location: str

    def result_file(self, key: str) -> str:
        """Location of a result."""
        return storage.join(self.location, f"{key}.json")

    def predictions_file(self, key: str) -> str:
        """Location of a unit's predictions."""
        return storage.join(self.location, f"{key}.parquet")

    def checkpoint(self, key: str) -> str:
        """Location of the checkpoint of a unit that keeps one."""
        return storage.join(self.location, key, "checkpoint")

    def read(self, key: str) -> UnitResult | None:
        """The result of a key; None if there is none.

        Raises:
            DataError: when it is no result.
            StorageError: when it cannot be read.
        """
        location = self.result_file(key)
        if not storage.exists(location):
            return None
        try:
            return UnitResult.model_validate(storage.read_json(location))
        except ValidationError as error:
            raise DataError(
                f"{location}: is no result of an experiment: {in_one_line(error)}; remove it, and "
                f"its unit runs again"
            ) from error

    def finished(self, key: str) -> bool:
        """Whether a unit has a result that is no failure."""
        found = self.read(key)
        return found is not None and found.failed is None

    def write(self, result: UnitResult, predictions: Predictions | None = None) -> None:
        """Store a result; its predictions come first, so that a result is always complete."""
        if predictions is not None:
            predictions.write(self.predictions_file(result.key))
        storage.write_json(self.result_file(result.key), result.model_dump(mode="json"))

    def predictions(self, key: str) -> Predictions:
        """The predictions of a finished unit."""
        return Predictions.read(self.predictions_file(key))
