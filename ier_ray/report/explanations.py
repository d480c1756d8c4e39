"""Explanations on disk, as the page shows them: one small function reads an image's files.

Every level of the tree of regions is a map of its own: a region's credit is the sum of those of
its halves, so a coarse level is a complete explanation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ier_ray import storage
from ier_ray.errors import DataError, SettingsError, StorageError
from ier_ray.explain.rendering import from_npz

Kind = Literal["Shapley", "sharp"]
UNITS = {"probability": "probability", "logit": "logit", "log_odds": "log-odds"}
"""What a score is measured in."""
PER_AREA = 100.0
"""Maps show credit per hundredth of the image's area."""


@dataclass(frozen=True, eq=False)
class CreditMap:
    """The credits of one explanation of an image.

    Attributes:
        kind: ``sharp`` if made by the preset of that name or with variant proportional, otherwise
            ``Shapley``.
        levels: coarse to fine, maps ``(S, S)`` of the credit per 1 % of the image's area.
        regions: how many a level has.
        unit: of the score.
        full, empty: score of the image and of the baseline.
    """

    kind: Kind
    directory: str
    levels: tuple[NDArray[np.float64], ...]
    regions: tuple[int, ...]
    unit: str
    full: float
    empty: float
    evaluations: int
    settings: dict[str, Any]

    @property
    def described(self) -> str:
        """The settings that make the map what it is."""
        names = ("score", "baseline", "contexts", "variant", "depth", "first_axis", "trees")
        return ", ".join(f"{name} {self.settings[name]}" for name in names if name in self.settings)


@dataclass(frozen=True, eq=False)
class Explained:
    """An explained image: one or several maps of one class."""

    name: str
    """Location of the image's file as it was given, or the id of its sample."""
    label: str | None
    """The true class, where known."""
    target: str
    """The explained class."""
    predicted: str
    probability: float
    """Of the predicted class."""
    cue_share: float | None
    """Fraction of the image's area that carries the label, where known."""
    cue_mass: float | None
    """Fraction of the first map's positive credit inside that area."""
    maps: tuple[CreditMap, ...]

    @property
    def right(self) -> bool:
        """Whether the prediction is the label, or no label is known."""
        return self.label in (None, self.predicted)


def read_explanations(directories: Sequence[str]) -> list[Explained]:
    """All explained images of some directories; maps of one image and class are put together.

    Images with most maps come first.

    Raises:
        SettingsError: when a directory holds no explanation.
        DataError: when a file of one is missing, damaged or of another version.
    """
    found: dict[tuple[str, str], Explained] = {}
    for directory in directories:
        for stem in _stems(directory):
            one = _read_explained(directory, stem)
            before = found.get((one.name, one.target))
            found[one.name, one.target] = _joined(before, one) if before else one
    return sorted(found.values(), key=lambda one: -len(one.maps))


def _joined(first: Explained, second: Explained) -> Explained:
    return Explained(**{**vars(first), "maps": (*first.maps, *second.maps)})


def _stems(directory: str) -> list[str]:
    """The stems of explanations, in the order of their names."""
    try:
        files = set(storage.list_files(directory))
    except StorageError as error:
        raise SettingsError(f"explanations {error}") from error
    stems = sorted(file.removesuffix(".json") for file in files if file.endswith(".json"))
    missing = [f"{stem}.npz" for stem in stems if f"{stem}.npz" not in files]
    if missing:
        raise DataError(
            f"{directory}: {', '.join(missing)} missing; make the explanations again with "
            f"jobs/explain.py"
        )
    if not stems:
        raise SettingsError(
            f"explanations {directory}: no explanations here (.json and .npz files); give the "
            f"directory that jobs/explain.py prints as output"
        )
    return stems


def _read_explained(directory: str, stem: str) -> Explained:
    """An image's explanation, from the two files that :mod:`ier_ray.explained_images` writes."""
    place = storage.join(directory, stem)
    record = storage.read_json(f"{place}.json")
    try:
        score, target = record["settings"]["score"], record["target"]
        classes = list(record["prediction"]["probabilities"])
        explanation = from_npz(storage.read_bytes(f"{place}.npz"))
        number, depth = classes.index(target), explanation.tree.depth
        shown = range(min(1, depth), depth + 1)
        levels = [explanation.density_map(number, level=level) for level in shown[:-1]]
        levels.append(explanation.density_map(number))  # of several trees, the mean of all
        made_by = record["settings"]
        sharp = made_by["preset"] == "sharp" or made_by["variant"] == "proportional"
        credit_map = CreditMap(
            kind="sharp" if sharp else "Shapley",
            directory=directory,
            levels=tuple(level * level.size / PER_AREA for level in levels),
            regions=tuple(len(explanation.tree.at(level)) for level in shown),
            unit=UNITS.get(score, score),
            full=record["full"],
            empty=record["empty"],
            evaluations=record["evaluations"],
            settings=made_by,
        )
        return Explained(
            name=record["name"],
            label=record["label"],
            target=target,
            predicted=record["prediction"]["label"],
            probability=record["prediction"]["probability"],
            cue_share=record["cue_share"],
            cue_mass=record["cue_mass"],
            maps=(credit_map,),
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(
            f"{place}.json: not an explanation of this version, or {stem}.npz is damaged "
            f"({type(error).__name__}: {error}); make it again with jobs/explain.py"
        ) from error
