"""Several datasets as one: the paper's ``All``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed, Loaded, Source


@dataclass(frozen=True)
class CombinedSource:
    """The samples of all parts, one part after the other."""

    parts: tuple[Source, ...]

    @property
    def name(self) -> str:
        """The names of the parts, joined by ``+``."""
        return "+".join(part.name for part in self.parts)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains that any part has."""
        return tuple(dict.fromkeys(domain for part in self.parts for domain in part.domains))

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List the samples with their dataset's name; locators start with the part's number."""
        for number, part in enumerate(self.parts):
            if domain in part.domains:
                for sample in part.list(domain):
                    locator = f"{number}:{sample.locator}"
                    yield sample._replace(locator=locator, dataset=part.name)

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Load the image from the part that listed it."""
        number, _, locator = sample.locator.partition(":")
        return self.parts[int(number)].load(domain, sample._replace(locator=locator))
