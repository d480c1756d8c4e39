"""Opening shard sets that fit a network: in their domain, their classes, and their captions.

Every job opens its shard sets here, so that all of them refuse the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ier_ray.data.captions import require_captions
from ier_ray.data.schema import Domain, require_scheme
from ier_ray.data.shards import ShardSet
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError, SettingsError


class Given(NamedTuple):
    """A shard set as the user gave it."""

    setting: str
    """Name of the setting, for the messages."""
    location: str
    domain: Domain | None
    """The domain that it must have; None for any."""


def open_fitting(
    given: Sequence[Given], *, scheme: EmotionScheme | None = None, captions: bool = False
) -> list[ShardSet]:
    """Open shard sets (at least one) that belong together.

    Args:
        scheme: the classes that all must have; by default those of the first one.
        captions: whether they are to be read by a network that takes captions.

    Raises:
        SettingsError: when one is given twice, or is of another domain.
        DataError: when one is missing, incomplete or empty, has other classes, or no captions.
    """
    opened = [ShardSet.open(one.location) for one in given]
    names: dict[str, str] = {}
    for (setting, location, domain), shards in zip(given, opened, strict=True):
        if domain not in (None, shards.manifest.domain):
            raise SettingsError(
                f"{setting} is {location}, a shard set of domain {shards.manifest.domain!r}; "
                f"give one of domain {domain!r}"
            )
        if not shards.manifest.rows:
            raise DataError(f"{setting} is {location}, a shard set without rows")
        content = shards.manifest.content_hash
        if content in names:
            raise SettingsError(
                f"{setting} is {location}, which has the same rows as {names[content]}"
            )
        names[content] = location
        require_scheme(shards.manifest, scheme or opened[0].scheme, location)
    if captions:
        require_captions(*opened)
    return opened
