"""Settings of a sweep."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ier_ray.config import Location, Settings
from ier_ray.errors import SettingsError
from ier_ray.training.selection import CRITERIA
from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.halving import Halving
from ier_ray.tuning.searchers import Searcher, require_trials
from ier_ray.tuning.space import Interval, Searched, Space

PAPERS_RANGES: Searched = {
    "optimizer.learning_rate": Interval(low=8e-5, high=8e-4, log=True),
    "loss.balance": Interval(low=0.0, high=2.0),
}


class SearchSettings(Settings):
    """What is searched, and with how many trials."""

    space: Searched = PAPERS_RANGES
    """Searched settings of train by their dotted names: each a range {low, high, log} or a list of
    values. In a flag, as JSON."""
    searcher: Searcher = "tpe"
    """How trials after the first, which has the base setting, are proposed. tpe: near good ones
    (tree-structured Parzen estimator); random; grid: every combination of lists of values."""
    scheduler: Literal["asha", "none"] = "asha"
    """Which trials end early. asha (asynchronous successive halving): those behind after
    grace_epochs, and after reduction times as many, and so on; none: no trial."""
    trials: int = Field(20, ge=1)
    """Number of trials; it may be raised when a sweep is resumed."""
    grace_epochs: int = Field(5, ge=1)
    """Epochs that every trial gets before it may be stopped."""
    reduction: int = Field(2, ge=2)
    """Each time trials are compared, about one in this many continues."""
    max_concurrent: int | None = Field(None, ge=1)
    """Trials at the same time; by default as many as fit on the cluster's CPUs and GPUs."""
    trials_per_gpu: int = Field(1, ge=1)
    """Trials that share a GPU; for trials of one worker."""
    folds: int = Field(1, ge=1)
    """Validation folds of each trial: it trains once for each, one after the other, and its score
    is the mean of their best epochs' scores. The first is data.val_fold, and its weights are kept;
    the test fold is left out. grace_epochs and what follows it count the epochs of all folds."""
    keep: int = Field(1, ge=1)
    """Best trials whose weights are kept."""


class SweepSettings(Settings):
    """A sweep."""

    name: str = Field("sweep", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the sweep. The same name and settings resume it."""
    storage: Location = "runs"
    """Where sweeps are kept: a directory all workers share, or an s3:// URI."""
    search: SearchSettings = SearchSettings()
    train: TrainSettings
    """The base setting of every trial; the sweep sets name, storage and the searched settings."""

    @property
    def space(self) -> Space:
        """What is searched.

        Raises:
            SettingsError: when it does not fit the base setting.
        """
        return Space.of(self.search.space, self.train)

    @property
    def halving(self) -> Halving | None:
        """The rule that stops trials early, if there is one."""
        search = self.search
        if search.scheduler == "none":
            return None
        return Halving(search.grace_epochs, search.reduction, self.epochs)

    @property
    def epochs(self) -> int:
        """Epochs of a trial that is not stopped, in all its folds, where they are not searched."""
        return self.search.folds * self.train.schedule.epochs

    @model_validator(mode="after")
    def _every_trial_is_possible(self) -> SweepSettings:
        try:
            require_trials(self.space, self.search.searcher, self.search.trials)
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _trials_can_be_ranked(self) -> SweepSettings:
        criterion, folds = self.train.criterion, self.search.folds
        measured = CRITERIA[criterion].network
        if measured is None:
            raise ValueError(
                f"train.schedule.criterion {criterion} gives all trials the same score: use another"
            )
        rule = self.train.split_plan(measured).rule
        if folds > 1 and rule != "folds":
            apart = measured == "fer" and self.train.data.fer_split is not None
            setting = f"train.data.{'fer_split' if apart else 'split'}"
            raise ValueError(
                f"search.folds is {folds}, but {setting} is {rule}: what {criterion} is measured "
                f"on would be the same in all of them. Set {setting} to folds, or search.folds to 1"
            )
        return self

    @model_validator(mode="after")
    def _only_one_worker_shares_a_gpu(self) -> SweepSettings:
        scaling, sharing = self.train.scaling, self.search.trials_per_gpu
        if sharing > 1 and not (scaling.use_gpu and scaling.num_workers == 1):
            raise ValueError(
                f"search.trials_per_gpu is {sharing}, which needs train.scaling.use_gpu true and "
                f"train.scaling.num_workers 1, got {str(scaling.use_gpu).lower()} and "
                f"{scaling.num_workers}"
            )
        return self
