"""What is read of runs, and what is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.finished_runs import EPOCHS, FOLDS, remove

from ier_ray.errors import CheckpointError, DataError, SettingsError
from ier_ray.report.run import distinct_names, read_run


def copied(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to / run.name))


def test_a_run_is_read_from_its_files(finished: Path) -> None:
    found = read_run(str(finished))
    assert (found.name, found.location) == ("first", str(finished))
    assert not found.cross_validated
    (training,) = found.trainings
    assert training.checkpoint == f"{finished}/best"
    assert [record["epoch"] for record in training.history] == list(range(1, EPOCHS + 1))
    assert set(found.predictions.parts.tolist()) == {"val", "test"}
    assert found.explanations == (f"{finished}/explanations", f"{finished}/explanations-sharp")
    assert found.layerwise is not None


def test_a_cross_validation_has_a_training_per_fold(folds: Path) -> None:
    found = read_run(str(folds))
    assert found.cross_validated
    assert [one.fold for one in found.trainings] == [f"fold-{number}" for number in range(FOLDS)]
    assert set(found.predictions.parts.tolist()) == {"test"}


@pytest.mark.parametrize("name", ["predictions.parquet", "history.json", "best/manifest.json"])
def test_an_unfinished_run_is_refused_by_what_is_missing(
    finished: Path, tmp_path: Path, name: str
) -> None:
    run = remove(name, of=copied(finished, tmp_path))
    told = rf"{run}: the run is not finished \({name} missing\); jobs/train.py with the same name"
    with pytest.raises(SettingsError, match=told):
        read_run(str(run))


def test_an_unfinished_fold_is_refused_by_name(folds: Path, tmp_path: Path) -> None:
    run = remove("fold-3/predictions.parquet", "predictions.parquet", of=copied(folds, tmp_path))
    told = (
        r"the cross-validation is not finished \(fold-3/predictions.parquet, predictions.parquet "
        r"missing\); jobs/crossvalidate.py"
    )
    with pytest.raises(SettingsError, match=told):
        read_run(str(run))


def test_what_is_no_run_is_refused(finished: Path, shards: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no run here"):
        read_run(str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=f"of a checkpoint, give the .* run, {finished}"):
        read_run(f"{finished}/best")
    with pytest.raises(SettingsError, match="is a checkpoint or a shard set, not a run"):
        read_run(shards["ier"])
    (tmp_path / "settings.json").write_text(json.dumps({"search": {}, "train": {}}))
    with pytest.raises(SettingsError, match=f"is a sweep.*--from_sweep {tmp_path}"):
        read_run(str(tmp_path))
    (tmp_path / "settings.json").write_text("[1]")
    with pytest.raises(DataError, match="not the settings of a run"):
        read_run(str(tmp_path))


def test_damaged_files_are_named(finished: Path, tmp_path: Path) -> None:
    run = copied(finished, tmp_path)
    layers = run / "layerwise" / "layerwise.json"
    layers.write_text("{}")
    with pytest.raises(DataError, match=f"{layers}: no record of layers of this version"):
        read_run(str(run))
    history = run / "history.json"
    history.write_text("[3]")
    with pytest.raises(DataError, match=f"{history}: not a list of epochs"):
        read_run(str(run))
    (run / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"predictions.parquet: cannot be read as Parquet"):
        read_run(str(run))
    manifest = run / "best" / "manifest.json"
    manifest.write_text('{"format_version": 1}')
    with pytest.raises((CheckpointError, DataError)):
        read_run(str(run))


def test_runs_of_one_name_are_told_apart_by_their_places(finished: Path, tmp_path: Path) -> None:
    one, other = read_run(str(finished)), read_run(str(copied(finished, tmp_path)))
    assert distinct_names([one, other]) == [
        f"{finished.parent.name}/first",
        f"{tmp_path.name}/first",
    ]
    assert distinct_names([one]) == ["first"]
    with pytest.raises(SettingsError, match=f"runs: {finished} is given twice"):
        distinct_names([one, one])
