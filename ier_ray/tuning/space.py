"""The search space: settings of a training run by their dotted names, checked before a sweep."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError, model_validator

from ier_ray.config import SettingPath, Settings, mapping_in_json, parse_settings, section_of
from ier_ray.errors import SettingsError
from ier_ray.training.settings import TrainSettings

Point = dict[str, Any]
"""A value for each searched setting, by its dotted name."""

OTHER_IMAGES = "trials that are validated on other images cannot be compared"
NOT_SEARCHED = {
    "name": "the sweep names its trials",
    "storage": "the sweep stores its trials",
    "seed": "trials of different seeds differ by chance",
    "scaling": "all trials have the same resources",
    "tracking": "all trials are tracked in one place",
    "schedule.criterion": "trials are ranked by one criterion",
    **{
        f"data.{name}": OTHER_IMAGES
        for name in ("fer", "ier", "split", "fer_split", "test_fold", "val_fold", "val_fraction")
    },
}
"""Settings and sections that all trials of a sweep share, and why."""
RELATED = 3
"""Largest number of settings that one rule of the training settings relates."""


class Interval(Settings):
    """A range of numbers to search."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Whether values are drawn evenly on a log scale."""

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not exceed high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"low ({self.low:g}) must be above 0 on a log scale")
        return self


def _read(given: Any) -> Any:
    """The search space of plain values; names and values are checked by :meth:`Space.of`."""
    given = mapping_in_json(given)
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            "must map dotted names of settings to {low, high, log} or to a list of values"
        )
    return {name: _searched(name, values) for name, values in given.items()}


def _searched(name: str, given: Any) -> Interval | list[Any]:
    if isinstance(given, Interval):
        return given
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given):
        return list(given)
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} must be {{low, high, log}} or a list of values, got {given!r}")
    try:
        return Interval.model_validate(given)
    except ValidationError as error:
        problems = (
            ".".join([name, *map(str, problem["loc"])])
            + f": {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False)
        )
        raise ValueError("; ".join(problems)) from None


Searched = Annotated[dict[str, Interval | list[Any]], BeforeValidator(_read)]
"""A search space as it stands in a settings file: not yet compared with the settings."""


@dataclass(frozen=True)
class Range:
    """A searched setting with any value between two: integers if both ends are."""

    name: str
    low: float
    high: float
    log: bool

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that are checked before a sweep starts."""
        return (self.low,) if self.low == self.high else (self.low, self.high)

    @property
    def size(self) -> float:
        """Number of values."""
        if self.low == self.high:
            return 1
        return self.high - self.low + 1 if isinstance(self.low, int) else math.inf

    def holds(self, value: Any) -> bool:
        """Whether a value is in the range."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """A searched setting with one of some values."""

    name: str
    ends: tuple[Any, ...]
    """The values."""

    @property
    def size(self) -> float:
        """Number of values."""
        return len(self.ends)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return value in self.ends

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.ends))}"


Parameter = Range | Choice


@dataclass(frozen=True)
class Space:
    """What is searched: every point is the base setting with other values of some settings."""

    base: TrainSettings
    parameters: tuple[Parameter, ...]

    @classmethod
    def of(cls, searched: Mapping[str, Interval | list[Any]], base: TrainSettings) -> Space:
        """The space of a settings file.

        Both ends of each range and all choices are tried on the settings, by themselves and with
        those of any two others. The base is one of its points: it is tried first.

        Raises:
            SettingsError: naming the setting and what is wrong with its values.
        """
        for name in searched:
            require_searchable(name)
        parameters = tuple(parameter(name, given, base) for name, given in searched.items())
        space = cls(base, parameters)
        for one in parameters:
            value = space.base_point[one.name]
            if not one.holds(value):
                raise SettingsError(
                    f"search.space: {one.name} is {value!r} in the base setting, which is the "
                    f"first trial, but the space has {one}: change one of them"
                )
        for point in space.corners():
            criterion = space.settings(point).criterion
            if criterion != base.criterion:
                raise SettingsError(
                    f"search.space: a trial of {described(point)} is ranked by {criterion}, the "
                    f"base setting by {base.criterion}: set schedule.criterion"
                )
        return space

    @property
    def base_point(self) -> Point:
        """The base setting as a point."""
        values = self.base.model_dump(mode="json")
        return {one.name: value_at(values, one.name) for one in self.parameters}

    @property
    def size(self) -> float:
        """Number of points; infinite if a range has numbers that are not integers."""
        return math.prod(one.size for one in self.parameters)

    def settings(self, point: Point) -> TrainSettings:
        """The settings of a point.

        Raises:
            SettingsError: when the settings do not allow it.
        """
        return with_values(self.base, point)

    def variations(self) -> Iterator[Point]:
        """The base point, and each end and choice of one setting with the others as in the base."""
        base = self.base_point
        yield base
        for one in self.parameters:
            for value in one.ends:
                if value != base[one.name]:
                    yield {**base, one.name: value}

    def corners(self) -> Iterator[Point]:
        """All ends and choices of up to three settings, with the others as in the base."""
        base = self.base_point
        for some in combinations(self.parameters, min(RELATED, len(self.parameters))):
            for values in product(*(one.ends for one in some)):
                yield {**base, **{one.name: v for one, v in zip(some, values, strict=True)}}

    def grid(self) -> list[Point]:
        """All combinations of choices, the base point first.

        Raises:
            SettingsError: when a setting has a range.
        """
        for one in self.parameters:
            if isinstance(one, Range):
                raise SettingsError(
                    f"search.space: {one.name} has a range; search.searcher grid takes lists of "
                    f"values: list them, or use tpe or random"
                )
        names = [one.name for one in self.parameters]
        rows = product(*(one.ends for one in self.parameters))
        points = [dict(zip(names, row, strict=True)) for row in rows]
        return sorted(points, key=lambda point: point != self.base_point)


def parameter(name: str, given: Interval | list[Any], base: TrainSettings) -> Parameter:
    """A searched setting with values of the setting's type.

    Raises:
        SettingsError: when the setting does not allow one of them.
    """
    values = [given.low, given.high] if isinstance(given, Interval) else given
    typed = [
        value_at(with_values(base, {name: value}).model_dump(mode="json"), name) for value in values
    ]
    if not isinstance(given, Interval):
        for value in typed:
            if typed.count(value) > 1:
                raise SettingsError(f"search.space: {name} lists {value!r} twice")
        return Choice(name, tuple(typed))
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in typed):
        raise SettingsError(f"search.space: {name} is no number: list its values instead")
    low, high = typed
    return Range(name, low, high, given.log)


def with_values(base: TrainSettings, point: Point) -> TrainSettings:
    """The settings with other values of some.

    Raises:
        SettingsError: when they are not allowed.
    """
    values = base.model_dump(mode="json")
    for name, value in point.items():
        section, *inner = name.split(".")
        place = values
        while inner:
            place, (section, *inner) = place[section], inner
        place[section] = value
    return parse_settings(
        TrainSettings, values, source=f"search.space, a trial of {described(point)}"
    )


def described(point: Point) -> str:
    """A point in words."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in point.items()
    )


def plain(value: Any) -> Any:
    """A setting's value as one that tables and Optuna know: a list is a text."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def value_at(values: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name in nested mappings."""
    found: Any = values
    for key in name.split("."):
        found = found[key]
    return found


def require_searchable(name: str) -> None:
    """Raise :class:`SettingsError` if a name is no setting, or one that all trials share."""
    known = [".".join(path) for path in setting_paths(TrainSettings)]
    if name not in known:
        if any(other.startswith(f"{name}.") for other in known):
            raise SettingsError(f"search.space: {name} is a section: name one of its settings")
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(f"search.space: {name} is not a setting of a training run{hint}")
    for shared, reason in NOT_SEARCHED.items():
        if name == shared or name.startswith(f"{shared}."):
            raise SettingsError(f"search.space: {name} cannot be searched: {reason}")


def setting_paths(settings_class: type[Settings], path: SettingPath = ()) -> Iterator[SettingPath]:
    """The paths of all settings below a class, without its sections."""
    for name, field in settings_class.model_fields.items():
        inner = section_of(field)
        if inner is None:
            yield (*path, name)
        else:
            yield from setting_paths(inner, (*path, name))
