"""Pictures with their maps, ready for the page: what was explained, and where the network fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ier_ray.evaluation.confident_errors import most_confident_errors
from ier_ray.report.explanations import CreditMap, Explained
from ier_ray.report.heat import Layer, layer
from ier_ray.report.pictures import Picture
from ier_ray.report.slices import Slice

MOST_EXPLAINED = 40
"""Explained images on a page, which would become too large to send."""
MOST_ERRORS = 8
"""Errors shown of each network."""


@dataclass(frozen=True)
class ShownMap:
    """A map of an explanation, and its levels as layers over the picture."""

    map: CreditMap
    layers: tuple[Layer, ...]
    """Coarse to fine."""


@dataclass(frozen=True)
class ShownExplanation:
    """An explained image."""

    explained: Explained
    picture: Picture | None
    maps: tuple[ShownMap, ...]

    @property
    def levels(self) -> int:
        """Of the map with most levels."""
        return max(len(one.layers) for one in self.maps)


@dataclass(frozen=True)
class ShownError:
    """A wrong prediction."""

    name: str
    label: str
    predicted: str
    probability: float
    """Of the predicted class."""
    label_probability: float
    picture: Picture | None
    heat: ShownMap | None
    """Its map, if it was explained."""


def shown_explanation(explained: Explained, picture: Picture | None) -> ShownExplanation:
    """The layers of all maps of an image."""
    maps = [ShownMap(one, tuple(map(layer, one.levels, one.regions))) for one in explained.maps]
    return ShownExplanation(explained, picture, tuple(maps))


def confident_errors(
    one: Slice, pictures: Mapping[str, Picture], explained: Sequence[ShownExplanation]
) -> list[ShownError]:
    """The most confident errors of a slice; with the map of the predicted class where there is one.

    Args:
        pictures: by the ids of samples.
    """
    heats = {(own.explained.name, own.explained.target): own.maps[0] for own in explained}
    wrong = most_confident_errors(one.predictions, most=MOST_ERRORS)
    names, classes = wrong.sample_ids.tolist(), wrong.classes
    found = []
    for name, label, probabilities in zip(names, wrong.labels, wrong.probabilities, strict=True):
        predicted = classes[int(probabilities.argmax())]
        found.append(
            ShownError(
                name=name,
                label=classes[label],
                predicted=predicted,
                probability=float(probabilities.max()),
                label_probability=float(probabilities[label]),
                picture=pictures.get(name),
                heat=heats.get((name, predicted)),
            )
        )
    return found
