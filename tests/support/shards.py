"""Sources of little images, and shard sets written in this process."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain, Part
from ier_ray.data.sources import (
    Listed,
    Loaded,
    Source,
    SyntheticSource,
)
from ier_ray.emotions import FOUR
from support.runs import SIZE

GOOD = io.BytesIO()
Image.new("RGB", (9, 7), "teal").save(GOOD, format="PNG")


LAYOUT = LayoutSettings(seed=1, max_bad=2, rows_per_shard=8, rows_per_group=3, duplicates="keep")
"""The images of an album are all the same."""


FREQUENCY = (240, 90, 40, 30)
"""Images of each class in the unbalanced set."""


DRAWINGS = SyntheticSource(samples=400, size=SIZE, seed=9)


@dataclass(frozen=True)
class Album:
    """Forty images of two labels, one without a class, and a few that are broken."""

    broken: int = 2
    repeated: bool = False
    name: str = "album"

    @property
    def domains(self) -> tuple[Domain, ...]:
        return ("ier",)

    def list(self, domain: Domain) -> Iterator[Listed]:
        labels = ("amusement", "sadness", "awe", "sadness")
        for number in range(40):
            sample_id = "image-0" if self.repeated else f"image-{number}"
            yield Listed(sample_id, labels[number % 4], f"album-{number // 4}")

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        number = int(sample.sample_id.split("-")[1])
        broken = number in (1, 7, 9)[: self.broken]
        return Loaded(b"" if broken else GOOD.getvalue(), None)


@dataclass(frozen=True)
class Unbalanced:
    """Drawings of which some emotions are rare."""

    name: str = "unbalanced"
    domains: tuple[Domain, ...] = ("fer", "ier")

    def list(self, domain: Domain) -> Iterator[Listed]:
        listed = DRAWINGS.list(domain)
        for label, count in zip(FOUR.classes, FREQUENCY, strict=True):
            for _, sample in zip(range(count), listed, strict=False):
                yield sample._replace(source_label=label)

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        return DRAWINGS.load(domain, sample)


def write_domains(source: Source, root: Path, layout: LayoutSettings) -> dict[str, str]:
    """A shard set of each domain below a directory; their locations."""
    return {
        domain: write_shard_set(
            source, domain, f"{root}/{domain}", scheme=FOUR, layout=layout
        ).location
        for domain in source.domains
    }


@dataclass(frozen=True)
class Labeled:
    """Random pictures of the four classes, with groups and own parts as asked for."""

    per_class: int
    groups_of: int = 1
    """Pictures in each group, of one class."""
    splits: Sequence[Part | None] = ()
    """Own parts of a class's pictures, in order."""
    rare: int | None = None
    """Pictures of the last class, if they are fewer."""
    seed: int = 0
    """Pictures of one seed and number are the same."""
    domain: Domain = "ier"
    relabeled: int | None = None
    """Seed by which the labels are shuffled among the pictures."""
    name: str = "labeled"

    @property
    def domains(self) -> tuple[Domain, ...]:
        return (self.domain,)

    def list(self, domain: Domain) -> Iterator[Listed]:
        listed: list[Listed] = []
        for label in FOUR.classes:
            last = label == FOUR.classes[-1] and self.rare is not None
            for number in range(self.rare or 0 if last else self.per_class):
                name = f"{label}-{number}"
                split = self.splits[number] if self.splits else None
                group = f"{label}-{number // self.groups_of}"
                listed.append(Listed(name, label, group, str(len(listed)), split=split))
        labels = [sample.source_label for sample in listed]
        if self.relabeled is not None:
            random.Random(self.relabeled).shuffle(labels)
        for sample, label in zip(listed, labels, strict=True):
            yield sample._replace(source_label=label)

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        pixels = random.Random(f"{self.seed} {sample.locator}").randbytes(SIZE * SIZE * 3)
        picture = io.BytesIO()
        Image.frombytes("RGB", (SIZE, SIZE), pixels).save(picture, format="PNG")
        return Loaded(picture.getvalue(), None)


def write_labeled(source: Labeled, path: Path, *, folds: int = 5) -> str:
    """A shard set of the pictures; its location."""
    layout = LayoutSettings(folds=folds, rows_per_shard=32, rows_per_group=16)
    location = str(path / source.domain)
    write_shard_set(source, source.domain, location, scheme=FOUR, layout=layout)
    return location
