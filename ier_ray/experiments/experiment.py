"""An experiment from its settings to its table: data, cells, units, results."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ier_ray import storage
from ier_ray.cluster.runs import claim_settings
from ier_ray.data.schema import read_shard_manifest
from ier_ray.errors import ExperimentError, SettingsError
from ier_ray.experiments.cases import explaining
from ier_ray.experiments.datasets import ALL_FER, FER_SETS, IER_SETS, Dataset, domain_of
from ier_ray.experiments.expansion import PERMUTED, Cell, expanded
from ier_ray.experiments.grid import Grid
from ier_ray.experiments.grid_files import read_grid
from ier_ray.experiments.permuting import write_permuted
from ier_ray.experiments.runner import require_room, run_units
from ier_ray.experiments.settings import ExperimentSettings
from ier_ray.experiments.simulated_studies import write_simulated_studies
from ier_ray.experiments.stand_ins import FOLDS, write_stand_ins
from ier_ray.experiments.store import UnitStore
from ier_ray.experiments.table import Table, tabulated
from ier_ray.experiments.writing import write_table

logger = logging.getLogger(__name__)

UNITS = "units"
PERMUTATION_SEED = 0
CHANGEABLE = ("scaling", "at_once", "rows", "columns", "folds", "seeds", "studies", "data", "train")
"""Settings that may change when an experiment is run again: results have keys of their own."""


@dataclass(frozen=True)
class ExperimentResult:
    """Outcome of an experiment."""

    table: str
    """Directory of the table: table.parquet, table.json, table.md, table.html."""
    cells: int
    """Cells of the table."""
    finished: int
    """Cells that have a figure."""
    failed: int
    """Cells of which a unit failed."""
    skipped: int
    """Cells that were left out, with the reason in the table."""
    units: int
    """Different units of work of the table."""
    ran: int
    """Units that ran now; the others had finished before."""
    seconds: float

    def require_all(self) -> None:
        """Refuse to call an experiment with failed cells a success.

        Raises:
            ExperimentError: when a cell failed.
        """
        if self.failed:
            raise ExperimentError(
                f"{self.failed} of {self.cells} cells failed, {self.finished} are finished: "
                f"{self.table}/table.md says why; the next call tries only the failed ones again"
            )


def run_experiment(settings: ExperimentSettings) -> ExperimentResult:
    """Run what is left of an experiment, and write its table.

    Raises:
        SettingsError: when a row, a column or a setting is not possible.
        CapacityError: when a training can never fit on the cluster.
        IerRayError: when the data cannot be read or the results cannot be written.
    """
    started = time.perf_counter()
    location = storage.absolute(settings.storage)
    settings = settings.model_copy(update={"storage": location})
    grid = read_grid(settings.experiment)
    directory = storage.join(location, settings.directory_name)
    storage.check_writable(directory, directory=True)
    data: Mapping[str, Dataset] | None = None
    if grid.kind == "study" and settings.scale == "tiny":  # cells read their studies when planned
        data = made_data(grid, settings)
        settings = with_simulated_studies(settings, data)
    planned = all_cells(grid, settings, data or planned_data(grid, settings))
    require_room([unit for cell in planned for unit in cell.units])
    claim_settings(
        storage.join(directory, "settings.json"),
        settings.model_dump(mode="json"),
        what=f"experiment {settings.directory_name!r}",
        changeable=CHANGEABLE,
    )
    data = data or made_data(grid, settings)
    cells = all_cells(grid, settings, data)
    store = UnitStore(storage.join(location, UNITS))
    units = [unit for cell in cells for unit in cell.units]
    before = {key for key in {unit.key for unit in units} if store.finished(key)}
    results = run_units(units, store, at_once=settings.at_once or grid.at_once)
    table = tabulated(grid, settings, cells, results, store, data)
    write_table(table, directory)
    return outcome(table, directory, results, before, time.perf_counter() - started)


def with_simulated_studies(
    settings: ExperimentSettings, data: Mapping[str, Dataset]
) -> ExperimentSettings:
    """The settings with studies of the stand-ins, whose annotators are simulated."""
    studies = write_simulated_studies(storage.join(settings.storage, "simulated-studies"), data)
    return settings.model_copy(update={"studies": studies})


def all_cells(grid: Grid, settings: ExperimentSettings, data: Mapping[str, Dataset]) -> list[Cell]:
    """The cells, with the checkpoint that their explainers explain, if it is given.

    Raises:
        SettingsError: as :func:`~ier_ray.experiments.expansion.expanded`.
        CheckpointError, DataError: as :func:`~ier_ray.experiments.cases.explaining`.
    """
    cells = expanded(grid, settings, data)
    if settings.checkpoint is None:
        return cells
    return [
        replace(cell, units=tuple(explaining(unit, settings.checkpoint) for unit in cell.units))
        for cell in cells
    ]


def planned_data(grid: Grid, settings: ExperimentSettings) -> dict[str, Dataset]:
    """The shard sets that the experiment will have; nothing is written.

    Raises:
        DataError: when a dataset that is given is none.
    """
    if settings.scale == "tiny":
        names = (*FER_SETS, ALL_FER, *IER_SETS)
        found = {name: Dataset(name, "", FOLDS, "four", (name,)) for name in names}
    else:
        found = given_data(grid, settings)
    if permutes(grid):
        found |= {f"{name}{PERMUTED}": dataset for name, dataset in found.items()}
    return found


def made_data(grid: Grid, settings: ExperimentSettings) -> dict[str, Dataset]:
    """The shard sets of an experiment by name, and copies with permuted labels where it has any."""
    if settings.scale == "tiny":
        logger.info("drawing synthetic stand-ins for the datasets, where they are not there yet")
        places = write_stand_ins(storage.join(settings.storage, "stand-ins"))
        found = {name: Dataset.read(place) for name, place in places.items()}
    else:
        found = given_data(grid, settings)
    return found | permuted_copies(found, settings) if permutes(grid) else found


def given_data(grid: Grid, settings: ExperimentSettings) -> dict[str, Dataset]:
    """The user's shard sets; human studies need none.

    Raises:
        SettingsError: when there is none, or one is of another domain.
    """
    given = settings.data.given()
    if not given and grid.kind != "study":
        raise SettingsError(
            "data: no dataset is given; set data.fi and others to shard sets, or use scale tiny"
        )
    found = {}
    for name, place in given.items():
        domain = read_shard_manifest(place).domain
        if domain != domain_of(name):
            raise SettingsError(
                f"data.{name} is {place}, a shard set of domain {domain!r}; give one of domain "
                f"{domain_of(name)!r}"
            )
        found[name] = Dataset.read(storage.absolute(place))
    return found


def permutes(grid: Grid) -> bool:
    """Whether any cell has permuted labels."""
    axes = (*grid.rows, grid.columns)
    return any(choice.permuted for axis in axes for choice in axis.values)


def permuted_copies(
    data: Mapping[str, Dataset], settings: ExperimentSettings
) -> dict[str, Dataset]:
    """A copy of each dataset with permuted labels, made once."""
    copies = {}
    for name, dataset in data.items():
        short = dataset.content_hash[:12]
        place = storage.join(settings.storage, "permuted", f"{name}-{short}")
        write_permuted(dataset.location, place, seed=PERMUTATION_SEED)
        copies[f"{name}{PERMUTED}"] = Dataset.read(place)
    return copies


def outcome(
    table: Table,
    directory: str,
    results: dict[str, Any],
    before: set[str],
    seconds: float,
) -> ExperimentResult:
    """The outcome of a table."""
    states = [entry.state for entry in table.entries]
    return ExperimentResult(
        table=directory,
        cells=len(states),
        finished=states.count("finished"),
        failed=states.count("failed"),
        skipped=states.count("skipped"),
        units=len(results),
        ran=len(set(results) - before),
        seconds=seconds,
    )
