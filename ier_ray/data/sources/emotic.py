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
from ier_ray.data.sources.files import ImageFiles, images_among, is_visible

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
    def recognizes(cls, files: Sequence[str]) -> bool:
        """Whether there is an ``Annotations.mat``."""
        return _annotations_among(files) is not None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Image emotions only."""
        return ("ier",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List the annotated images by path; loading reports the missing ones.

        Raises:
            DataError: when the annotations cannot be read or have an unknown category.
        """
        files = storage.list_files(self.root)
        annotations = _annotations_among(files)
        if annotations is None:
            return
        images = read_images(storage.join(self.root, annotations))
        vote, on_disk = read_vote(), _by_tail(images_among(files))
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


def _annotations_among(files: Sequence[str]) -> str | None:
    named = (path for path in files if path.lower().rpartition("/")[2] == "annotations.mat")
    return next(filter(is_visible, named), None)


def _by_tail(images: Sequence[str]) -> dict[str, str]:
    """Paths by each of their endings: annotations omit the folders above the image's own."""
    index: dict[str, str] = {}
    for path in images:
        parts = unicodedata.normalize("NFC", path).split("/")
        for start in range(len(parts)):
            index.setdefault("/".join(parts[start:]), path)
    return index
