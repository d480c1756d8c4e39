"""The vote that maps the categories of an EMOTIC image to one emotion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import yaml

from ier_ray.errors import DataError

UNDECIDED = "none"
"""The label of an image without votes; no scheme has it."""


class Vote(NamedTuple):
    """Maps categories to one emotion, as ``emotic_vote.yaml`` says."""

    categories: dict[str, str]
    """Emotion of each category, or ``none``."""
    tie_order: tuple[str, ...]
    """All emotions; of tied emotions, the first in this order wins."""

    def winner(self, categories: Sequence[str]) -> str:
        """The emotion with the most votes, one per given category; ``none`` without votes.

        Raises:
            DataError: for a category that the table does not have.
        """
        unknown = sorted(set(categories) - set(self.categories))
        if unknown:
            raise DataError(
                f"EMOTIC categories {unknown} are not in emotic_vote.yaml, "
                f"which has {sorted(self.categories)}"
            )
        votes = Counter(self.categories[category] for category in categories)
        return max(
            (e for e in self.tie_order if votes[e]), key=votes.__getitem__, default=UNDECIDED
        )


def read_vote() -> Vote:
    """Read the table that comes with the package."""
    table = files("ier_ray.data.sources").joinpath("emotic_vote.yaml")
    content = yaml.safe_load(table.read_text(encoding="utf-8"))
    return Vote(content["categories"], tuple(content["tie_order"]))
