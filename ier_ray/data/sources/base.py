"""What ingest asks of a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ier_ray.data.schema import Domain


class Listed(NamedTuple):
    """A sample that exists, before its image is touched."""

    sample_id: str
    """Unique within the dataset, and stable."""
    source_label: str
    """The dataset's own label."""
    group: str
    """Subject or series whose samples must share a fold; the sample's id where there is none."""
    locator: str = ""
    """Where the source finds the image; means something to the source alone."""
    affect: tuple[float, float, float] | None = None
    """Valence, arousal and dominance, where the dataset rates them."""
    dataset: str | None = None
    """The dataset's name, where a source holds several; else the source's."""


class Loaded(NamedTuple):
    """The image of a sample, as delivered."""

    image: bytes
    """Encoded image."""
    cue_mask: bytes | None
    """PNG of the pixels that carry the label, where known."""


class Source(Protocol):
    """A dataset: lists its samples quickly, loads each on any worker."""

    @property
    def name(self) -> str:
        """Name of the dataset, as in the shards' ``dataset`` column."""

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains this dataset has samples of."""

    def list(self, domain: Domain) -> Iterator[Listed]:
        """All samples of a domain, in a stable order."""

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """The image of one listed sample."""
