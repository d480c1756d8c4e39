"""Settings of an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from ier_ray.config import JsonMapping, Location, Settings
from ier_ray.experiments.datasets import IER_SETS, DatasetSettings
from ier_ray.experiments.grid import Scale
from ier_ray.experiments.grid_files import grid_names
from ier_ray.training.sections import ScalingSettings

if TYPE_CHECKING:
    ExperimentName: TypeAlias = str
else:  # the files of the package, which type checkers cannot list
    ExperimentName = Literal[tuple(grid_names())]


class ExperimentSettings(Settings):
    """One table of the paper, or an ablation."""

    experiment: ExperimentName
    """Which experiment; jobs/experiment.py takes it as its first word, too."""
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the directory of its table, below storage. None: the experiment's and the scale's."""
    storage: Location = "runs/experiments"
    """Where tables and the results of their cells are kept: a directory all workers share, or an
    s3:// URI. Experiments of one storage share their trainings, and finished ones never run
    again."""
    scale: Scale = "paper"
    """paper: your datasets, as large as the paper's tables; tiny: synthetic stand-ins for the
    datasets, small networks and few epochs, in minutes."""
    data: DatasetSettings = DatasetSettings()
    rows: list[str] = Field([])
    """Only rows of these names, of any row axis. Empty: all."""
    columns: list[str] = Field([])
    """Only columns of these names. Empty: all."""
    folds: int | None = Field(None, ge=1)
    """Test folds. None: the scale's."""
    seeds: int | None = Field(None, ge=1)
    """Seeds from 0. None: the scale's."""
    train: JsonMapping[Any] = Field({})
    """Settings of every training by their dotted names, as {"optimizer.learning_rate": 0.0001},
    over those of the scale and below those in which the rows and columns differ. In a flag, as
    JSON."""
    scaling: ScalingSettings = ScalingSettings()
    """Of each training."""
    at_once: int | None = Field(None, ge=1)
    """Cells at the same time. None: as many as the cluster has room for; one of table3, which
    measures seconds."""
    checkpoint: Location | None = None
    """Checkpoint whose IER network table1 explains, on test images of the data it was trained with.
    None: at scale tiny, one is trained; at scale paper, nothing is explained."""
    studies: JsonMapping[Location] = Field({})
    """Result files of human studies (JSON), by dataset, as {"fi": "runs/study/result.json"}; for
    table4. In a flag, as JSON."""

    @model_validator(mode="after")
    def _tiny_draws_its_data(self) -> ExperimentSettings:
        given = self.data.given()
        if self.scale == "tiny" and given:
            raise ValueError(
                f"scale tiny draws stand-ins for all datasets: leave data.{min(given)} out, or use "
                f"scale paper"
            )
        return self

    @model_validator(mode="after")
    def _checkpoint_is_explained(self) -> ExperimentSettings:
        if self.checkpoint is None:
            return self
        if self.experiment != "table1" or self.scale != "paper":
            raise ValueError(
                f"checkpoint is explained by experiment table1 at scale paper only, not by "
                f"{self.experiment} at scale {self.scale}"
            )
        return self

    @model_validator(mode="after")
    def _studies_are_read(self) -> ExperimentSettings:
        if self.studies and self.experiment != "table4":
            raise ValueError(f"studies are read by experiment table4 only, not {self.experiment}")
        if self.studies and self.scale == "tiny":
            raise ValueError(
                "scale tiny simulates the annotators of its stand-ins: leave studies out, or use "
                "scale paper"
            )
        for name in self.studies:
            if name not in IER_SETS:
                raise ValueError(f"studies: {name!r} is none of {', '.join(IER_SETS)}")
        return self

    @property
    def directory_name(self) -> str:
        """Name of the table's directory."""
        return self.name or f"{self.experiment}-{self.scale}"
