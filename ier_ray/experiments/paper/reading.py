"""Reads and checks the files of the paper's figures."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from ier_ray.config import Settings, in_one_line
from ier_ray.errors import DataError

Unit = Literal["percent", "seconds", "kappa", "words"]


class PaperValue(Settings):
    """One cell of a table."""

    row: str
    """Name of the row; names of nested rows are joined by `` / ``."""
    column: str
    """Name of the column."""
    value: float | str
    """The figure in the unit, or words."""
    spread: float | None = Field(None, ge=0)
    """What the paper prints behind ±, in the unit."""
    unit: Unit | None = None
    """The cell's unit, where it is not the table's."""


class PaperTable(Settings):
    """A table of the paper, as printed."""

    table: str
    """Its name in the paper."""
    title: str
    """What it shows."""
    unit: Unit
    """Unit of its values."""
    scheme: str
    """Label scheme of the figures."""
    notes: tuple[str, ...]
    """What does not fit together in it, shown as footnotes."""
    values: tuple[PaperValue, ...]
    """Its cells."""

    @model_validator(mode="after")
    def _cells_are_single_and_possible(self) -> PaperTable:
        places = Counter((value.row, value.column) for value in self.values)
        twice = [place for place, count in places.items() if count > 1]
        if twice:
            raise ValueError(f"{self.table}: cell {twice[0]} is given twice")
        for value in self.values:
            unit = value.unit or self.unit
            if isinstance(value.value, str) != (unit == "words"):
                raise ValueError(
                    f"{self.table}: {value.row}, {value.column} is {value.value!r}, which is not "
                    f"in {unit}"
                )
            if unit == "percent" and not 0 <= float(value.value) <= 100:
                raise ValueError(
                    f"{self.table}: {value.row}, {value.column} is {value.value}, no percentage"
                )
        return self

    @cached_property
    def cells(self) -> dict[tuple[str, str], PaperValue]:
        """The values by row and column."""
        return {(value.row, value.column): value for value in self.values}

    @property
    def rows(self) -> list[str]:
        """Names of the rows, in order."""
        return list(dict.fromkeys(value.row for value in self.values))

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(dict.fromkeys(value.column for value in self.values))


def paper_table(name: str) -> PaperTable | None:
    """The table of a name such as ``table2``; None where the paper has no such table.

    Raises:
        DataError: when the file does not describe a table.
    """
    file = files("ier_ray.experiments.paper") / f"{name}.yaml"
    if not file.is_file():
        return None
    return parsed_table(file.read_text(encoding="utf-8"), source=file.name)


def parsed_table(text: str, *, source: str) -> PaperTable:
    """A table from YAML.

    Raises:
        DataError: when it does not describe one.
    """
    try:
        return PaperTable.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        said = in_one_line(error) if isinstance(error, ValidationError) else str(error)
        raise DataError(f"{source}: is no table of the paper: {said}") from error
