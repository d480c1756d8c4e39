"""What is on disk of a finished run or cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ier_ray import storage
from ier_ray.config import in_one_line
from ier_ray.errors import DataError, SettingsError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.layerwise.files import RECORD
from ier_ray.training.checkpoint import MANIFEST, CheckpointManifest, read_checkpoint_manifest
from ier_ray.training.run_files import BEST, HISTORY, PREDICTIONS, SETTINGS
from ier_ray.training.settings import TrainSettings

FOLD = "fold-"
"""How the directories of a cross-validation's runs begin."""
LAYERWISE = "layerwise"
"""Directory of ``layerwise.json``, where ``jobs/layerwise.py`` writes it by default."""
EXPLANATIONS = "explanations"
"""How directories of explanations in a run's directory begin."""
MAKES = {"run": "jobs/train.py", "cross-validation": "jobs/crossvalidate.py"}


@dataclass(frozen=True)
class Training:
    """One training: the whole run, or one fold of a cross-validation."""

    location: str
    checkpoint: str
    manifest: CheckpointManifest
    history: list[dict[str, Any]]
    """One record per epoch."""

    @property
    def fold(self) -> str:
        """The end of its location."""
        return self.location.rpartition("/")[2]


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """All that a report reads of a run, but for pictures and explanations."""

    name: str
    location: str
    settings: TrainSettings
    predictions: Predictions
    trainings: tuple[Training, ...]
    """One; of a cross-validation one per fold."""
    layerwise: dict[str, Any] | None
    """The record of ``jobs/layerwise.py``, where there is one."""
    explanations: tuple[str, ...]
    """Directories of explanations in the run's own."""

    @property
    def cross_validated(self) -> bool:
        """Whether the predictions are of all test folds, each by a training of its own."""
        return len(self.trainings) > 1

    @property
    def manifest(self) -> CheckpointManifest:
        """That of the first training; folds differ in their rows, epoch and score."""
        return self.trainings[0].manifest


def read_run(location: str) -> FinishedRun:
    """Read a finished run.

    Args:
        location: directory or URI that ``jobs/train.py`` prints as ``run``, or
            ``jobs/crossvalidate.py`` as ``location``.

    Raises:
        SettingsError: when there is no run, or it is not finished; naming what is missing.
        DataError: when a file is damaged or of another version.
        CheckpointError: when the best checkpoint's manifest is.
    """
    location = storage.absolute(location)
    settings = _settings(location)
    found = storage.list_directories(location)
    folds = sorted(
        (name for name in found if name.startswith(FOLD) and name[len(FOLD) :].isdigit()),
        key=lambda name: int(name[len(FOLD) :]),
    )
    places = [storage.join(location, name) for name in folds] or [location]
    kind = "cross-validation" if folds else "run"
    _require_finished(location, places, kind)
    record = storage.join(location, LAYERWISE, RECORD)
    return FinishedRun(
        name=settings.name,
        location=location,
        settings=settings,
        predictions=Predictions.read(storage.join(location, PREDICTIONS)),
        trainings=tuple(_training(place) for place in places),
        layerwise=read_layerwise(record) if storage.exists(record) else None,
        explanations=tuple(
            storage.join(location, name) for name in found if name.startswith(EXPLANATIONS)
        ),
    )


def _settings(location: str) -> TrainSettings:
    place = storage.join(location, SETTINGS)
    if not storage.exists(place):
        if storage.exists(storage.join(location, MANIFEST)):
            raise SettingsError(
                f"{location}: is a checkpoint or a shard set, not a run; of a checkpoint, give the "
                f"directory of its run, {location.rpartition('/')[0]}"
            )
        raise SettingsError(
            f"{location}: no run here ({SETTINGS} is missing); give the directory that "
            f"jobs/train.py prints as run, or jobs/crossvalidate.py as location"
        )
    content = storage.read_json(place)
    if isinstance(content, dict) and "search" in content:
        raise SettingsError(
            f"{location}: is a sweep, which has a page of its own (sweep.html); train its best "
            f"settings with jobs/train.py --from_sweep {location} and give that run"
        )
    try:
        return TrainSettings.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{place}: not the settings of a run: {in_one_line(error)}") from error


def _require_finished(location: str, places: Sequence[str], kind: str) -> None:
    """Raise :class:`SettingsError` naming the files of the run and its folds that are missing."""
    wanted = [
        storage.join(place, name)
        for place in places
        for name in (f"{BEST}/{MANIFEST}", HISTORY, PREDICTIONS)
    ]
    wanted += [storage.join(location, PREDICTIONS)]
    missing = [place for place in dict.fromkeys(wanted) if not storage.exists(place)]
    if missing:
        names = ", ".join(place[len(location) + 1 :] for place in missing)
        raise SettingsError(
            f"{location}: the {kind} is not finished ({names} missing); {MAKES[kind]} with the "
            f"same name and settings finishes it"
        )


def _training(location: str) -> Training:
    checkpoint = storage.join(location, BEST)
    place = storage.join(location, HISTORY)
    history = storage.read_json(place)
    if not isinstance(history, list) or not all(
        isinstance(record, dict) and "epoch" in record for record in history
    ):
        raise DataError(f"{place}: not a list of epochs; the file is damaged")
    return Training(location, checkpoint, read_checkpoint_manifest(checkpoint), history)


def read_layerwise(location: str) -> dict[str, Any]:
    """The record that ``jobs/layerwise.py`` leaves.

    Raises:
        DataError: when it is not one of this version.
    """
    content = storage.read_json(location)
    if not isinstance(content, dict) or not {"networks", "random", "images"} <= content.keys():
        raise DataError(
            f"{location}: no record of layers of this version; make it again with jobs/layerwise.py"
        )
    return content


def distinct_names(runs: Sequence[FinishedRun]) -> list[str]:
    """What the runs are called beside each other: their names, or locations where these are equal.

    Raises:
        SettingsError: when a run is given twice.
    """
    places = [run.location for run in runs]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise SettingsError(f"runs: {twice} is given twice")
    names = [run.name for run in runs]
    for parts in (2, 3):
        if len(set(names)) == len(names):
            return names
        names = ["/".join(place.split("/")[-parts:]) for place in places]
    return names if len(set(names)) == len(names) else places
