"""The persons of each image, from EMOTIC's ``Annotations.mat``."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
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
        DataError: when the file cannot be read, or lacks a field, which is named.
    """
    content = io.BytesIO(storage.read_bytes(location))
    try:
        splits = loadmat(content, squeeze_me=True, struct_as_record=False)
    except Exception as error:  # scipy raises errors of many types for a damaged file
        raise DataError(f"{location}: cannot be read as a MATLAB 5 file: {error}") from error
    images: dict[str, Annotated] = {}
    if splits.keys().isdisjoint(PARTS):
        raise DataError(f"{location}: has none of the arrays {', '.join(PARTS)}")
    for split, image, place in _images(splits, location):
        named = (_field(image, name, place) for name in ("folder", "filename"))
        parts = [str(part).replace("\\", "/").strip("/") for part in named]
        path = "/".join(filter(None, parts))
        persons = [
            _person(person, f"{place}.person") for person in _items(_field(image, "person", place))
        ]
        before = images.get(path, Annotated([], None))
        both = most_held_out((before.split, split))
        images[path] = Annotated([*before.persons, *persons], both)
    return images


def affect_of(persons: Sequence[Person]) -> Affect | None:
    """Mean over the persons with ratings; None without ratings."""
    return _mean([person.affect for person in persons])


def _images(splits: dict[str, Any], location: str) -> Iterator[tuple[Part, Any, str]]:
    """Each image's structure, its part, and where it is in the file, for messages."""
    for name in PARTS:
        for number, image in enumerate(_items(splits.get(name)), start=1):
            yield name, image, f"{location}: {name}({number})"


def _field(structure: Any, names: str | tuple[str, ...], place: str) -> Any:
    """The first of the named fields that is not empty.

    Raises:
        DataError: when the structure has none of them.
    """
    wanted = (names,) if isinstance(names, str) else names
    present = [getattr(structure, name) for name in wanted if hasattr(structure, name)]
    if not present:
        has = getattr(structure, "_fieldnames", None) or f"no fields, but {structure!r:.60}"
        raise DataError(f"{place}: lacks the field {' or '.join(wanted)}, has {has}")
    return next((value for value in present if _items(value)), present[0])


def _person(structure: Any, place: str) -> Person:
    return Person(_categories(structure, place), _affect(structure, place))


def _items(value: Any) -> list[Any]:
    """The elements of an array that ``squeeze_me`` may have reduced to one element or None."""
    return [] if value is None else list(np.atleast_1d(value).ravel())


def _categories(person: Any, place: str) -> set[str]:
    names = ("combined_categories", "annotations_categories")
    given = _items(_field(person, names, place))
    nested = (_items(getattr(entry, "categories", entry)) for entry in given)
    return {str(category).strip() for entry in nested for category in entry}


def _affect(person: Any, place: str) -> Affect | None:
    names = ("combined_continuous", "annotations_continuous")
    return _mean([_ratings(entry, place) for entry in _items(_field(person, names, place))])


def _ratings(entry: Any, place: str) -> Affect | None:
    values = [_field(entry, name, place) for name in ("valence", "arousal", "dominance")]
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
