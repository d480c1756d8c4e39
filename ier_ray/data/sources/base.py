"""The interface between ingest and a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ier_ray.data.schema import Domain, Part


class Listed(NamedTuple):
    """A sample that a dataset lists; its image is not loaded yet."""

    sample_id: str
    """Unique within the source, and stable."""
    source_label: str
    """The dataset's own label."""
    group: str
    """Subject or series, whose samples must share a fold; the sample's id where there is none."""
    locator: str = ""
    """Where the source finds the image; only the source interprets it."""
    affect: tuple[float, float, float] | None = None
    """Valence, arousal and dominance, where the dataset rates them."""
    dataset: str | None = None
    """The dataset's name, where a source holds several; None stands for the source's name."""
    split: Part | None = None
    """The part that the dataset's authors put the sample in; None where they name none."""


class Loaded(NamedTuple):
    """The image of a sample, as the dataset has it."""

    image: bytes
    """Encoded image."""
    cue_mask: bytes | None
    """PNG of the pixels that carry the label, where known."""


class Source(Protocol):
    """A dataset: lists its samples quickly, and loads each of them on any worker."""

    @property
    def name(self) -> str:
        """Name of the dataset, as in the shards' ``dataset`` column."""

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains that this dataset has samples of."""

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List all samples of a domain, in a stable order."""

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Load the image of a listed sample.

        Raises:
            ImageError: when the image is missing or unusable.
        """
