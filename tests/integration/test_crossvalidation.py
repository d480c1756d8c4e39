"""k-fold cross-validation on a real cluster."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import pytest
from support.runs import SIZE, tiny_settings

from ier_ray import storage
from ier_ray.cluster.crossvalidation import CrossValidation, cross_validate, spreads, table
from ier_ray.cluster.ingest import ingest
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain
from ier_ray.data.sources import SyntheticSource
from ier_ray.emotions import FOUR
from ier_ray.errors import SettingsError
from ier_ray.training.checkpoint import read_checkpoint_manifest


@pytest.fixture(scope="module")
def halves(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Both domains in two folds, and the generic images in three."""
    root = tmp_path_factory.mktemp("halves")
    source = SyntheticSource(samples=64, size=SIZE, seed=5)
    parts: dict[str, tuple[Domain, int]] = {
        "fer": ("fer", 2),
        "ier": ("ier", 2),
        "thirds": ("ier", 3),
    }
    return {
        name: ingest(
            source, domain, f"{root}/{name}", scheme=FOUR, layout=LayoutSettings(folds=folds)
        ).location
        for name, (domain, folds) in parts.items()
    }


@pytest.mark.timeout(400)
def test_each_fold_is_held_out_once_and_a_second_call_goes_on(
    halves: dict[str, str], tmp_path: Path
) -> None:
    data = {"fer": halves["fer"], "ier": halves["ier"]}
    settings = tiny_settings(
        data, tmp_path, name="cv", scaling={"num_workers": 1}, schedule={"epochs": 1}
    )
    found = cross_validate(settings)
    runs = [storage.read_json(f"{tmp_path}/cv/fold-{fold}/settings.json") for fold in range(2)]
    assert [run["data"]["val_fold"] for run in runs] == [0, 1]
    assert [read_checkpoint_manifest(c).metrics for c in found.checkpoints] == found.folds
    assert found.folds[0] != found.folds[1]
    first, second = (metrics["ier_val_loss"] for metrics in found.folds)
    assert found.metrics["ier_val_loss"].mean == pytest.approx((first + second) / 2)
    assert storage.read_json(f"{tmp_path}/cv/crossvalidation.json")["folds"] == found.folds

    again = cross_validate(settings)  # nothing is left to do
    assert replace(again, seconds=found.seconds) == found
    with pytest.raises(SettingsError, match="cross-validation 'cv' exists with other settings"):
        cross_validate(settings.model_copy(update={"seed": 9}))


def test_domains_in_different_folds_are_refused(halves: dict[str, str], tmp_path: Path) -> None:
    data = {"fer": halves["fer"], "ier": halves["thirds"]}
    with pytest.raises(SettingsError, match=r"data\.fer has 2 folds, data\.ier has 3"):
        cross_validate(tiny_settings(data, tmp_path))
    assert not any(tmp_path.iterdir())


def test_spread_by_hand() -> None:
    folds = [{"ier_accuracy": 0.5}, {"ier_accuracy": 0.7}, {"ier_accuracy": 0.9}]
    found = spreads(folds)
    assert list(found) == ["ier_accuracy"]
    assert astuple(found["ier_accuracy"]) == pytest.approx((0.7, 0.2))
    lines = table(CrossValidation("runs/cv", found, folds, ["a", "b", "c"], 1.0)).splitlines()
    assert lines[2].split() == ["1", "0.7000"]
    assert lines[-1].split() == ["mean", "0.7000", "±", "0.2000"]
