"""Several datasets as one, the paper's ``All``; or several folders of one dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed, Loaded, Skipped, Source, why_taken
from ier_ray.errors import SettingsError


@dataclass(frozen=True)
class CombinedSource:
    """The samples of all parts, one part after the other.

    Where parts are of one dataset, as ``raf/train`` and ``raf/test``, the end of its folder's path
    tells the samples of each from those of the others.
    """

    parts: tuple[Source, ...]

    def __post_init__(self) -> None:
        roots = sorted(f"{root}/" for root in self._roots() if root)
        for outer, inner in pairwise(roots):
            if inner.startswith(outer):
                raise SettingsError(
                    f"path: {inner[:-1]} is in {outer[:-1]}, so its images would be listed twice; "
                    f"give each folder once, and none that is in another one"
                )

    def _roots(self) -> list[str]:
        """Where each part's files are; empty for those without files."""
        return [getattr(part, "root", "") for part in self.parts]

    @property
    def name(self) -> str:
        """The names of the datasets, joined by ``+``."""
        return "+".join(dict.fromkeys(part.name for part in self.parts))

    @property
    def recognized(self) -> str:
        """What each part was taken for, where nobody said it."""
        return "".join(map(why_taken, self.parts))

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains that any part has."""
        return tuple(dict.fromkeys(domain for part in self.parts for domain in part.domains))

    def _ids(self) -> list[str]:
        """How the ids of each part begin: no two alike."""
        times = Counter(part.name for part in self.parts)
        tails = distinct_ends(self._roots())
        return [
            f"{part.name}/{tail}/" if times[part.name] > 1 else f"{part.name}/"
            for part, tail in zip(self.parts, tails, strict=True)
        ]

    def list(self, domain: Domain) -> Iterator[Listed | Skipped]:
        """List the samples with their dataset's name; locators start with the part's number."""
        for number, (part, inside) in enumerate(zip(self.parts, self._ids(), strict=True)):
            if domain in part.domains:
                for entry in part.list(domain):
                    sample_id = entry.sample_id.replace(f"{part.name}/", inside, 1)
                    if isinstance(entry, Skipped):
                        yield entry._replace(sample_id=sample_id)
                        continue
                    alone = entry.group == entry.sample_id
                    yield entry._replace(
                        sample_id=sample_id,
                        group=sample_id if alone else entry.group,
                        locator=f"{number}:{entry.locator}",
                        dataset=part.name,
                    )

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Load the image from the part that listed it."""
        number, _, locator = sample.locator.partition(":")
        return self.parts[int(number)].load(domain, sample._replace(locator=locator))


def distinct_ends(paths: list[str]) -> list[str]:
    """The shortest ends of paths, of equally many folders, by which all are told apart."""
    split = [path.split("/") for path in paths]
    for length in range(1, max(map(len, split), default=0) + 1):
        ends = ["/".join(folders[-length:]) for folders in split]
        if len(set(ends)) == len(set(paths)):
            return ends
    return paths
