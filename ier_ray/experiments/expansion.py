"""From a grid to its cells, each with the units of work whose results it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ier_ray.config import merged, parse_settings
from ier_ray.data.schema import Domain
from ier_ray.errors import SettingsError
from ier_ray.experiments.datasets import Dataset
from ier_ray.experiments.grid import Choice, Grid
from ier_ray.experiments.repeats import repeated
from ier_ray.experiments.settings import ExperimentSettings
from ier_ray.experiments.studies import read_study
from ier_ray.experiments.units import Unit
from ier_ray.training.settings import TrainSettings

PERMUTED = ":permuted"
"""Ends the name of a dataset whose labels are permuted."""
WITH_OPTIONS = ("explainer", "cost")
"""Kinds of units that read the options of a scale."""
OWN = frozenset({"name", "storage", "seed", "data.fer", "data.ier", "data.test_fold"})
"""Settings that an experiment sets itself."""


@dataclass(frozen=True)
class Cell:
    """A place in the table."""

    row: str
    column: str
    units: tuple[Unit, ...] = ()
    """One per test fold and seed."""
    measure: str = "accuracy"
    """Which of the units' measures it shows."""
    data: Mapping[Domain, str] | None = None
    """Names of its datasets."""
    folds: int = 0
    """Folds that the IER data are divided into."""
    sums: Choice | None = None
    """What other rows of its column it sums; it has no units of its own."""
    study: str | None = None
    """Result file of the human study that it shows."""
    skipped: str | None = None
    """Why it has no units."""


def expanded(grid: Grid, settings: ExperimentSettings, data: Mapping[str, Dataset]) -> list[Cell]:
    """All cells of a grid that the settings ask for, row by row.

    Args:
        data: the shard sets that there are, by dataset.

    Raises:
        SettingsError: when a row or column is unknown, or the settings of a cell are not possible;
            it names the cell.
    """
    require_known("rows", settings.rows, [c.name for axis in grid.rows for c in axis.values])
    require_known("columns", settings.columns, [c.name for c in grid.columns.values])
    rows, columns = set(settings.rows), set(settings.columns)
    for axis in grid.rows:  # a name asks for its own axis only: others keep all their rows
        names = {choice.name for choice in axis.values}
        rows |= set() if rows & names else names
    places = [
        (row, column, choices)
        for row, column, choices in grid.places()
        if all(choice.name in rows for choice in choices[:-1])
        and (not columns or column in columns)
    ]
    return [cell_of(grid, settings, data, *place) for place in places]


def require_known(setting: str, asked: Sequence[str], known: Sequence[str]) -> None:
    """Raise :class:`SettingsError` if a name is not one of those known."""
    for name in asked:
        if name not in known:
            raise SettingsError(
                f"{setting}: {name!r} is not in this experiment; it has {', '.join(known)}"
            )


def cell_of(
    grid: Grid,
    settings: ExperimentSettings,
    data: Mapping[str, Dataset],
    row: str,
    column: str,
    choices: Sequence[Choice],
) -> Cell:
    """One cell, with its units or why there are none."""
    names = {choice.name for choice in choices}
    reasons = [choice.skip.get(settings.scale) for choice in choices]
    reasons += [why for choice in choices for name, why in choice.not_in.items() if name in names]
    named = {**grid.data, **{d: n for choice in choices for d, n in choice.data.items()}}
    permuted = any(choice.permuted for choice in choices)
    used = {d: f"{name}{PERMUTED}" if permuted else name for d, name in named.items()}
    kind = next((choice.kind for choice in choices if choice.kind), grid.kind)
    missing = [name.removesuffix(PERMUTED) for name in used.values() if name not in data]
    if kind == "study":
        missing = [name for name in named.values() if name not in settings.studies]
    if missing:
        setting = "studies" if kind == "study" else "data"
        reasons.append(f"{setting}.{missing[0]} is not given")
    if kind == "explainer" and settings.scale == "paper" and settings.checkpoint is None:
        reasons.append("no checkpoint is given whose network could be explained (checkpoint)")
    measure = next((choice.measure for choice in choices if choice.measure), "accuracy")
    cell = Cell(row, column, measure=measure, data=named)
    skipped = next(filter(None, reasons), None)
    if skipped is not None:
        return replace(cell, skipped=skipped)
    if kind == "study":
        place = settings.studies[named["ier"]]
        read_study(place)
        return replace(cell, study=place)
    sums = next((choice for choice in choices if choice.sum_of), None)
    if sums is not None:
        return replace(cell, sums=sums)
    chosen = {domain: data[name] for domain, name in used.items()}
    scale = grid.scales[settings.scale]
    values = {**grid.set, **scale.set, **settings.train}
    for choice in choices:
        values |= choice.set | choice.at.get(settings.scale, {})
    base = training_of(values, settings, chosen, where=f"{settings.experiment}, {row}, {column}")
    method = next((choice.method for choice in choices if choice.method), None)
    unit = Unit(
        kind=kind,
        train=base,
        hashes={domain: chosen[domain].content_hash for domain in base.sources},
        tested=grid.tested,
        method=method,
        options=scale.options if kind in WITH_OPTIONS else {},
    )
    units = tuple(repeated(unit, settings, grid, chosen))
    folds = chosen["ier"].folds if "ier" in chosen else 0
    return replace(cell, units=units, folds=folds)


def training_of(
    values: Mapping[str, Any],
    settings: ExperimentSettings,
    chosen: Mapping[Domain, Dataset],
    *,
    where: str,
) -> TrainSettings:
    """The training of a cell, of its first fold and seed.

    Raises:
        SettingsError: naming the cell.
    """
    own = sorted(OWN & set(values))
    if own:
        raise SettingsError(f"{where}: {own[0]} is set by the experiment; leave it out")
    nested: dict[str, Any] = {
        "storage": settings.storage,
        "data": {domain: dataset.location for domain, dataset in chosen.items()},
        "scaling": settings.scaling.model_dump(mode="json"),
    }
    for name, value in values.items():
        inner: Any = value
        for part in reversed(name.split(".")):
            inner = {part: inner}
        nested = merged(nested, inner)
    return parse_settings(TrainSettings, nested, source=where).located()
