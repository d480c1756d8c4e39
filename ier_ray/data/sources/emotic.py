"""EMOTIC: people in context; each has some of 26 categories, and valence, arousal, dominance."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed
from ier_ray.data.sources.emotic_annotations import affect_of, read_images
from ier_ray.data.sources.emotic_vote import UNDECIDED, read_vote
from ier_ray.data.sources.files import ImageFiles
from ier_ray.data.sources.folders import DatasetFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmoticSource(ImageFiles):
    """``Annotations/Annotations.mat`` and ``emotic/<folder>/<filename>``.

    The persons of an image vote for its label: each category of a person counts once, however many
    annotators gave it. Valence, arousal and dominance (1 to 10) are averaged over a person's
    annotators, then over the persons.
    """

    name: str = "emotic"

    looked_for: ClassVar[str] = "Annotations.mat and emotic/<folder>/<filename>"

    @classmethod
    def recognizes(cls, folder: DatasetFolder) -> str | None:
        """An ``Annotations.mat``."""
        found = _annotations_among(folder)
        return found and f"there is {found}"

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Image emotions only."""
        return ("ier",)

    def annotations(self, folder: DatasetFolder) -> Sequence[str]:
        """``Annotations.mat``."""
        found = _annotations_among(folder)
        return [found] if found else []

    def samples(self, folder: DatasetFolder) -> Iterator[Listed]:
        """The annotated images by path; loading reports the missing ones.

        Raises:
            DataError: when the annotations cannot be read or have an unknown category.
        """
        annotations = _annotations_among(folder)
        if annotations is None:
            return
        images = read_images(storage.join(self.root, annotations))
        vote, on_disk = read_vote(), _by_tail(folder.images)
        decided = 0
        for path, (persons, split) in sorted(images.items()):
            sample_id = f"{self.name}/{path}"
            label = vote.winner([name for person in persons for name in person.categories])
            decided += label != UNDECIDED
            locator = on_disk.get(unicodedata.normalize("NFC", path), path)
            yield Listed(sample_id, label, sample_id, locator, affect_of(persons), split=split)
        logger.info(
            "EMOTIC: the vote decided %d images and left %d without an emotion",
            decided,
            len(images) - decided,
        )


def _annotations_among(folder: DatasetFolder) -> str | None:
    files = folder.others
    return next((p for p in files if p.lower().rpartition("/")[2] == "annotations.mat"), None)


def _by_tail(images: Sequence[str]) -> dict[str, str]:
    """Paths by each of their endings: annotations omit the folders above the image's own."""
    index: dict[str, str] = {}
    for path in images:
        parts = unicodedata.normalize("NFC", path).split("/")
        for start in range(len(parts)):
            index.setdefault("/".join(parts[start:]), path)
    return index
