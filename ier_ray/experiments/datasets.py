"""The paper's datasets by their names in experiments, and where each experiment finds them."""

from __future__ import annotations

from dataclasses import dataclass

from ier_ray.config import Location, Settings
from ier_ray.data.schema import Domain, read_shard_manifest

ALL_FER = "all"
"""The union of the FER datasets, ingested as one shard set: the paper's ``All``."""


class DatasetSettings(Settings):
    """Shard sets of the paper's datasets, each made by jobs/ingest.py; those that are missing leave
    their cells empty. Not with scale tiny."""

    fer13: Location | None = None
    """FER13."""
    ferg: Location | None = None
    """FERG."""
    jaffe: Location | None = None
    """JAFFE."""
    ck_plus: Location | None = None
    """CK+."""
    all: Location | None = None
    """All FER datasets in one shard set: several sources in one call of jobs/ingest.py."""
    iapsa: Location | None = None
    """IAPSa."""
    artphoto: Location | None = None
    """ArtPhoto."""
    fi: Location | None = None
    """FI."""
    emotic: Location | None = None
    """EMOTIC."""

    def given(self) -> dict[str, str]:
        """The locations that are set, by name."""
        return {name: place for name, place in self if place is not None}


@dataclass(frozen=True)
class Dataset:
    """A shard set of an experiment."""

    location: str
    content_hash: str
    folds: int
    scheme: str
    names: tuple[str, ...]
    """Names of the datasets in it."""

    @classmethod
    def read(cls, location: str) -> Dataset:
        """The shard set at a location.

        Raises:
            DataError: when there is none.
        """
        manifest = read_shard_manifest(location)
        return cls(
            location,
            manifest.content_hash,
            manifest.folds,
            manifest.scheme,
            tuple(manifest.datasets),
        )


FER_SETS = ("fer13", "ferg", "jaffe", "ck_plus")
IER_SETS = ("iapsa", "artphoto", "fi", "emotic")


def domain_of(name: str) -> Domain:
    """The domain of a dataset."""
    return "ier" if name in IER_SETS else "fer"
