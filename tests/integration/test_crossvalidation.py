"""k-fold cross-validation on a real cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.runs import SIZE, tiny_settings

from ier_ray import storage
from ier_ray.cluster.crossvalidation import cross_validate
from ier_ray.cluster.ingest import ingest
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain
from ier_ray.data.sources import SyntheticSource
from ier_ray.emotions import FOUR
from ier_ray.errors import SettingsError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.summary import fold_table
from ier_ray.report.page import render_report
from ier_ray.training.checkpoint import read_checkpoint_manifest


@pytest.fixture(scope="module")
def thirds(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Both domains in three folds, and the generic images in four."""
    root = tmp_path_factory.mktemp("thirds")
    source = SyntheticSource(samples=64, size=SIZE, seed=5)
    parts: dict[str, tuple[Domain, int]] = {
        "fer": ("fer", 3),
        "ier": ("ier", 3),
        "quarters": ("ier", 4),
    }
    return {
        name: ingest(
            source, domain, f"{root}/{name}", scheme=FOUR, layout=LayoutSettings(folds=folds)
        ).location
        for name, (domain, folds) in parts.items()
    }


@pytest.mark.timeout(400)
def test_each_fold_is_held_out_once_and_a_second_call_goes_on(
    thirds: dict[str, str], tmp_path: Path
) -> None:
    data = {"fer": thirds["fer"], "ier": thirds["ier"]}
    settings = tiny_settings(
        data, tmp_path, name="cv", scaling={"num_workers": 1}, schedule={"epochs": 1}
    )
    found = cross_validate(settings)
    runs = [storage.read_json(f"{tmp_path}/cv/fold-{fold}/settings.json") for fold in range(3)]
    assert [run["data"]["test_fold"] for run in runs] == [0, 1, 2]
    kept = Predictions.read(found.predictions)
    assert not kept.seen.any()
    for domain in ("fer", "ier"):
        # From the file alone: the table of the outcome, and each fold by hand.
        table = found.test[domain]
        assert table == fold_table(kept, domain=domain)
        own = kept.select(kept.domains == domain)
        assert len(own) == len(set(own.sample_ids)) == 64
        hits = own.probabilities.argmax(1) == own.labels
        by_fold = [hits[own.folds == fold].mean() for fold in range(3)]
        assert table.mean["accuracy"] == pytest.approx(np.mean(by_fold))
        assert table.std["accuracy"] == pytest.approx(np.std(by_fold, ddof=1))
        assert table.pooled.accuracy == pytest.approx(hits.mean())
    for fold, checkpoint in enumerate(found.checkpoints):
        plan = read_checkpoint_manifest(checkpoint).data["ier"].plan
        assert (plan.test_fold, plan.val_fold) == (fold, None)
    page = render_report([found.location], title="folds")
    for table in found.test.values():
        assert f"{table.mean['accuracy']:.3f} ± {table.std['accuracy']:.3f}" in page
        assert f"<td>64</td><td>{table.pooled.accuracy:.3f} " in page
    assert page.count("sha256 ") == 3

    again = cross_validate(settings)  # nothing is left to do
    assert replace(again, seconds=found.seconds) == found
    with pytest.raises(SettingsError, match="cross-validation 'cv' exists with other settings"):
        cross_validate(settings.model_copy(update={"seed": 9}))


def test_domains_in_different_folds_are_refused(thirds: dict[str, str], tmp_path: Path) -> None:
    data = {"fer": thirds["fer"], "ier": thirds["quarters"]}
    with pytest.raises(SettingsError, match=r"data\.fer has 3 folds, data\.ier has 4"):
        cross_validate(tiny_settings(data, tmp_path))
    assert not any(tmp_path.iterdir())


def test_what_cannot_rotate_is_refused(thirds: dict[str, str], tmp_path: Path) -> None:
    data = {"fer": thirds["fer"], "ier": thirds["ier"]}
    with pytest.raises(SettingsError, match=r"data\.val_fold is 2; in cross-validation every fold"):
        cross_validate(tiny_settings(data, tmp_path, data__val_fold=2))
    with pytest.raises(SettingsError, match=r"data\.split is own: .* cannot rotate"):
        cross_validate(tiny_settings(data, tmp_path, data__split="own"))
