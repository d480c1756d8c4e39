"""The persons of each image, from EMOTIC's ``Annotations.mat``."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy.io import loadmat

from ier_ray import storage
from ier_ray.data.schema import PARTS, Part
from ier_ray.data.sources.splits import most_held_out
from ier_ray.errors import DataError

Affect = tuple[float, float, float]
"""Valence, arousal and dominance, from 1 to 10."""


class Person(NamedTuple):
    """One annotated person."""

    categories: set[str]
    """All categories that any annotator gave."""
    affect: Affect | None
    """Mean over the annotators; None without ratings."""


class Annotated(NamedTuple):
    """One image."""

    persons: list[Person]
    split: Part | None
    """EMOTIC's own part; of several, the one that is held out furthest."""


def read_images(location: str) -> dict[str, Annotated]:
    """Read the images by their path; repeated entries of an image are merged.

    Raises:
        DataError: when the file cannot be read.
    """
    content = io.BytesIO(storage.read_bytes(location))
    try:
        splits = loadmat(content, squeeze_me=True, struct_as_record=False)
    except Exception as error:  # scipy raises errors of many types for a damaged file
        raise DataError(f"{location}: cannot be read as a MATLAB 5 file: {error}") from error
    images: dict[str, Annotated] = {}
    for split, image in ((name, image) for name in PARTS for image in _items(splits.get(name))):
        parts = [str(part).replace("\\", "/").strip("/") for part in (image.folder, image.filename)]
        path = "/".join(filter(None, parts))
        persons = [_person(person) for person in _items(getattr(image, "person", None))]
        before = images.get(path, Annotated([], None))
        both = most_held_out((before.split, split))
        images[path] = Annotated([*before.persons, *persons], both)
    return images


def affect_of(persons: Sequence[Person]) -> Affect | None:
    """Mean over the persons with ratings; None without ratings."""
    return _mean([person.affect for person in persons])


def _person(structure: Any) -> Person:
    return Person(_categories(structure), _affect(structure))


def _items(value: Any) -> list[Any]:
    """The elements of an array that ``squeeze_me`` may have reduced to one element or None."""
    return [] if value is None else list(np.atleast_1d(value).ravel())


def _categories(person: Any) -> set[str]:
    combined = _items(getattr(person, "combined_categories", None))
    given = combined or _items(getattr(person, "annotations_categories", None))
    nested = (_items(getattr(entry, "categories", entry)) for entry in given)
    return {str(category).strip() for entry in nested for category in entry}


def _affect(person: Any) -> Affect | None:
    combined = _items(getattr(person, "combined_continuous", None))
    given = combined or _items(getattr(person, "annotations_continuous", None))
    return _mean([_ratings(entry) for entry in given])


def _ratings(entry: Any) -> Affect | None:
    values = [getattr(entry, name, np.nan) for name in ("valence", "arousal", "dominance")]
    if not all(isinstance(value, Real) and math.isfinite(value) for value in values):
        return None
    valence, arousal, dominance = map(float, values)
    return valence, arousal, dominance


def _mean(ratings: Sequence[Affect | None]) -> Affect | None:
    known = [rating for rating in ratings if rating is not None]
    if not known:
        return None
    valence, arousal, dominance = np.mean(known, axis=0).tolist()
    return valence, arousal, dominance
