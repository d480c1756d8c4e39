"""The interface between ingest and a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

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


SkipReason = Literal[
    "system",
    "not_an_image",
    "annotations",
    "outside_layout",
    "link",
    "broken_link",
    "not_a_file",
    "unreadable_name",
]
"""Why no sample is made of a file. ``annotations`` were read for the labels; ``outside_layout`` are
images that are not where the dataset has its images, or that its annotations do not name."""


class Skipped(NamedTuple):
    """A file in a dataset's folder that no sample is made of."""

    sample_id: str
    """As a sample's: the dataset's name and the file's path, printable."""
    reason: SkipReason
    detail: str


class Loaded(NamedTuple):
    """The image of a sample, as the dataset has it."""

    image: bytes
    """Encoded image."""
    cue_mask: bytes | None
    """PNG of the pixels that carry the label, where known."""


def why_taken(source: Source) -> str:
    """What the folder of a source was taken for and why, if nobody said it; to end a message."""
    return str(getattr(source, "recognized", ""))


class Source(Protocol):
    """A dataset: lists its samples quickly, and loads each of them on any worker."""

    @property
    def name(self) -> str:
        """Name of the dataset, as in the shards' ``dataset`` column."""

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains that this dataset has samples of."""

    def list(self, domain: Domain) -> Iterator[Listed | Skipped]:
        """List all samples of a domain in a stable order, and the files that are none."""

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Load the image of a listed sample.

        Raises:
            ImageError: when the image is missing or unusable.
        """
