"""An experiment's table: what each cell shows, and how its rows compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ier_ray import __version__
from ier_ray.config import Settings
from ier_ray.evaluation.predictions import Predictions
from ier_ray.experiments.comparing import Comparison, compared
from ier_ray.experiments.datasets import ALL_FER, FER_SETS, Dataset
from ier_ray.experiments.entries import Entry, entry_of, with_sums
from ier_ray.experiments.expansion import Cell
from ier_ray.experiments.grid import Grid
from ier_ray.experiments.paper import PaperTable, paper_table
from ier_ray.experiments.settings import ExperimentSettings
from ier_ray.experiments.store import UnitStore
from ier_ray.experiments.units import UnitResult

STAND_INS = "scale tiny: synthetic stand-ins"
"""In every heading of a table whose data are drawn."""


class Table(Settings):
    """A finished table."""

    experiment: str
    """Name of the experiment."""
    heading: str
    """Title and scale."""
    mark: str
    """Ends every heading of a table whose data are drawn; else empty."""
    rows: tuple[str, ...]
    """Its rows, in order."""
    columns: tuple[str, ...]
    """Its columns, in order."""
    row_title: str
    """What rows are."""
    column_title: str
    """What columns are."""
    entries: tuple[Entry, ...]
    """Its cells, row by row."""
    comparisons: tuple[Comparison, ...] = ()
    """Each row against the reference."""
    footnotes: tuple[str, ...] = ()
    """What a reader must know."""
    paper: PaperTable | None = None
    """The paper's table."""
    hardware: tuple[str, ...] = ()
    """What it was computed on."""
    version: str = __version__
    """Version of ier_ray."""


def tabulated(
    grid: Grid,
    settings: ExperimentSettings,
    cells: Sequence[Cell],
    results: Mapping[str, UnitResult],
    store: UnitStore,
    data: Mapping[str, Dataset],
) -> Table:
    """The table of a grid whose units have run."""
    paper = paper_table(settings.experiment)
    predictions = predicted(cells, results, store)
    measured = [entry_of(cell, results, predictions.get((cell.row, cell.column))) for cell in cells]
    entries = with_sums(cells, measured)
    beside = [
        entry.model_copy(update=paper_figure(cell, settings, paper, data))
        for cell, entry in zip(cells, entries, strict=True)
    ]
    mark = f" — {STAND_INS}" if settings.scale == "tiny" else ""
    return Table(
        experiment=settings.experiment,
        heading=f"{settings.experiment}: {grid.title}{mark}",
        mark=mark,
        rows=tuple(dict.fromkeys(cell.row for cell in cells)),
        columns=tuple(dict.fromkeys(cell.column for cell in cells)),
        row_title=" / ".join(axis.title for axis in grid.rows),
        column_title=grid.columns.title,
        entries=tuple(beside),
        comparisons=tuple(compared(grid, cells, predictions)),
        footnotes=grid.footnotes,
        paper=paper,
        hardware=tuple(sorted(machines(results))),
    )


def predicted(
    cells: Sequence[Cell], results: Mapping[str, UnitResult], store: UnitStore
) -> dict[tuple[str, str], dict[str, Predictions]]:
    """The predictions of each finished cell that has any, by key of the unit."""
    read: dict[str, Predictions] = {}
    found = {}
    for cell in cells:
        keys = [unit.key for unit in cell.units if unit.kind in ("training", "control")]
        if keys and not any(results[key].failed for key in keys):
            for key in keys:
                read[key] = read.get(key) or store.predictions(key)
            found[cell.row, cell.column] = {key: read[key] for key in keys}
    return found


def paper_figure(
    cell: Cell,
    settings: ExperimentSettings,
    paper: PaperTable | None,
    data: Mapping[str, Dataset],
) -> dict[str, float | str | None]:
    """The paper's figure of a cell whose datasets and scheme are the paper's."""
    value = None if paper is None else paper.cells.get((cell.row, cell.column))
    if value is None or paper is None or settings.scale == "tiny" or not cell.data:
        return {}
    for name in cell.data.values():
        datasets = set(FER_SETS) if name == ALL_FER else {name}
        found = data.get(name)
        if found is None or found.scheme != paper.scheme or set(found.names) != datasets:
            return {}
    return {"paper": value.value, "paper_spread": value.spread}


def machines(results: Mapping[str, UnitResult]) -> set[str]:
    """What the results were computed on, in words."""
    return {
        f"{result.hardware['device']} (threads of a cell's process: {result.hardware['threads']})"
        for result in results.values()
        if "device" in result.hardware
    }
