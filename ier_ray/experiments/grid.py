"""Declared grids: the rows and columns of an experiment, and the settings in which they differ."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from ier_ray.config import Seed, Settings
from ier_ray.data.schema import Domain
from ier_ray.experiments.datasets import DatasetSettings, domain_of

Kind = Literal["training", "control", "cost", "explainer", "study"]
"""What a cell is: a trained network's predictions, those of a control without training, seconds of
an epoch's operations, measurements of an explainer, or a human study."""
Scale = Literal["tiny", "paper"]
JOINED = " / "
"""Between the names of nested rows."""
DATASETS = tuple(DatasetSettings.model_fields)


class Choice(Settings):
    """One value of an axis: a name, and what is set by it."""

    name: str = Field(min_length=1)
    """Its name in the table, as the paper's where that has it."""
    set: dict[str, Any] = Field({})
    """Settings of the training by their dotted names."""
    at: dict[Scale, dict[str, Any]] = Field({})
    """Further settings at a scale."""
    data: dict[Domain, str] = Field({})
    """Datasets by domain: names of the settings of data."""
    kind: Kind | None = None
    """What its cells are, where they are not of the grid's kind."""
    method: str | None = None
    """Which control or explainer."""
    measure: str | None = None
    """Which of the unit's measures its cells show; None: the accuracy."""
    sum_of: dict[str, float] = Field({})
    """Its cells are sums of other rows of the same axis, each times a number. Of the first one, a
    figure is needed; of others that have none, nothing is added."""
    over: str | None = None
    """A row that the sum is divided by."""
    not_in: dict[str, str] = Field({})
    """Why its cells are left out within some rows of an outer axis."""
    permuted: bool = False
    """Train and test on labels that are permuted among the images: must be at chance."""
    skip: dict[Scale, str] = Field({})
    """Why its cells are left out at a scale."""

    @model_validator(mode="after")
    def _datasets_exist(self) -> Choice:
        for domain, name in self.data.items():
            if name not in DATASETS:
                raise ValueError(f"{self.name}: no dataset {name!r}; use {', '.join(DATASETS)}")
            if domain_of(name) != domain:
                raise ValueError(f"{self.name}: {name} is no dataset of domain {domain!r}")
        return self


class Axis(Settings):
    """One axis of the table."""

    title: str
    """What its values are."""
    values: tuple[Choice, ...] = Field(min_length=1)
    """The values, in order."""

    @model_validator(mode="after")
    def _names_differ(self) -> Axis:
        names = Counter(choice.name for choice in self.values)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(f"axis {self.title!r}: {twice[0]!r} is given twice")
        return self


class ScaleSettings(Settings):
    """What a scale changes."""

    folds: int | None = Field(None, ge=1)
    """Test folds; None: all."""
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    """Seeds; every fold is trained with each."""
    set: dict[str, Any] = Field({})
    """Settings of every training."""
    options: dict[str, Any] = Field({})
    """Options of the cells' kind."""


class Grid(Settings):
    """An experiment: the product of its row axes, times its columns."""

    title: str
    """What the table shows."""
    kind: Kind = "training"
    """What a cell is."""
    tested: Domain = "ier"
    """The network that is tested, on IER images."""
    rows: tuple[Axis, ...] = Field(min_length=1)
    """Axes of the rows: nested, the first one outermost."""
    columns: Axis
    """The columns."""
    set: dict[str, Any] = Field({})
    """Settings of every training."""
    data: dict[Domain, str] = Field({})
    """Datasets of every cell, where no row or column names one."""
    reference: str | None = None
    """The row that the others are compared with, by its name on the last row axis."""
    at_once: int | None = Field(None, ge=1)
    """Cells at the same time, where the settings say nothing: one where seconds are measured."""
    scales: dict[Scale, ScaleSettings]
    """What each scale changes."""
    footnotes: tuple[str, ...] = ()
    """What a reader must know."""

    @model_validator(mode="after")
    def _both_scales(self) -> Grid:
        missing = [scale for scale in ("tiny", "paper") if scale not in self.scales]
        if missing:
            raise ValueError(f"scales: {missing[0]} is missing")
        return self

    @model_validator(mode="after")
    def _axes_do_not_overlap(self) -> Grid:
        axes = (*self.rows, self.columns)
        for one, other in itertools.combinations(axes, 2):
            for what in ("set", "data"):
                both = _names(one, what) & _names(other, what)
                if both:
                    raise ValueError(
                        f"{one.title} and {other.title} both set {min(both)}: a setting belongs "
                        f"to one axis"
                    )
        return self

    @model_validator(mode="after")
    def _sums_are_of_rows_before(self) -> Grid:
        before: set[str] = set()
        for choice in self.rows[-1].values:
            for name in (*choice.sum_of, *([choice.over] if choice.over else [])):
                if name not in before:
                    raise ValueError(f"{choice.name}: sums {name!r}, which is no row before it")
            before.add(choice.name)
        return self

    @model_validator(mode="after")
    def _reference_is_a_row(self) -> Grid:
        names = [choice.name for choice in self.rows[-1].values]
        if self.reference is not None and self.reference not in names:
            raise ValueError(f"reference: {self.reference!r} is no row; use one of {names}")
        return self

    def places(self) -> Iterator[tuple[str, str, tuple[Choice, ...]]]:
        """Row, column and choices of each cell, row by row."""
        for chosen in itertools.product(*(axis.values for axis in self.rows)):
            row = JOINED.join(choice.name for choice in chosen)
            for column in self.columns.values:
                yield row, column.name, (*chosen, column)

    def reference_of(self, row: str) -> str | None:
        """The row that a row is compared with; None where it is that itself."""
        if self.reference is None:
            return None
        *outer, last = row.split(JOINED)
        return None if last == self.reference else JOINED.join([*outer, self.reference])


def _names(axis: Axis, what: Literal["set", "data"]) -> set[str]:
    found: set[str] = set()
    for choice in axis.values:
        values: Mapping[str, Any] = getattr(choice, what)
        found |= set(values)
    return found
