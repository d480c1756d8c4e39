"""The datasets that samples come from, one file per dataset."""

from ier_ray.data.sources.base import Listed, Loaded, Skipped, Source
from ier_ray.data.sources.combined import CombinedSource
from ier_ray.data.sources.registry import SOURCES, open_source
from ier_ray.data.sources.synthetic import SyntheticSource

__all__ = [
    "SOURCES",
    "CombinedSource",
    "Listed",
    "Loaded",
    "Skipped",
    "Source",
    "SyntheticSource",
    "open_source",
]
