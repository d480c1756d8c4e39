"""Evaluating a checkpoint: on the part it names, never unawares on rows it has seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.runs import ROOT, SAMPLES, SIZE, tiny_settings

from ier_ray import storage
from ier_ray.cluster.evaluation import choose_rows, predict
from ier_ray.cluster.runs import check_data
from ier_ray.cluster.trainer import TrainResult
from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.sources import SyntheticSource
from ier_ray.emotions import FOUR
from ier_ray.errors import DataError, SettingsError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.prior_shift import adjusted
from ier_ray.evaluation.summary import evaluate_predictions
from ier_ray.inference import Recognizer
from ier_ray.training.checkpoint import CheckpointManifest, read_checkpoint_manifest


@pytest.fixture(scope="module")
def manifest(trained: TrainResult) -> CheckpointManifest:
    return read_checkpoint_manifest(trained.checkpoint)


def run_evaluate(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """The job as from a shell; its exit code, record and standard error."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "evaluate.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    record = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
    return done.returncode, record, done.stderr


@pytest.mark.parametrize("part", ["train", "val"])
def test_rows_that_trained_or_selected_are_refused_by_name(
    part: Any, trained: TrainResult, manifest: CheckpointManifest, shards: dict[str, str]
) -> None:
    count = {"train": 96, "val": 32}[part]
    with pytest.raises(
        DataError,
        match=rf"{count} of the {count} rows .* selected .*synthetic-ier-.*, …\).*--allow-seen",
    ):
        choose_rows(trained.checkpoint, manifest, shards["ier"], domain="ier", parts=[part])
    rows = choose_rows(
        trained.checkpoint,
        manifest,
        shards["ier"],
        domain="ier",
        parts=[part],
        allow_seen=True,
    )
    assert rows.seen.all()
    assert len(rows.index) == count


def test_data_of_another_hash_has_no_parts_and_copies_are_recognized_in_it(
    trained: TrainResult, manifest: CheckpointManifest, tmp_path: Path
) -> None:
    """The same pictures, divided by another seed: folds say nothing, pixels do."""
    source = SyntheticSource(samples=SAMPLES, size=SIZE, seed=3)
    layout = LayoutSettings(seed=8)
    copy = write_shard_set(
        source, "ier", str(tmp_path / "copy"), scheme=FOUR, layout=layout
    ).location
    with pytest.raises(DataError, match=r"has content hash \w{12}, .* hash \w{12}.* part all"):
        choose_rows(trained.checkpoint, manifest, copy, domain="ier", parts=["test"])
    with pytest.raises(DataError, match=r"128 of the 160 rows asked for trained or selected"):
        choose_rows(trained.checkpoint, manifest, copy, domain="ier", parts=["all"])
    other = SyntheticSource(samples=40, size=SIZE, seed=77)
    new = write_shard_set(other, "ier", str(tmp_path / "new"), scheme=FOUR, layout=layout).location
    rows = choose_rows(trained.checkpoint, manifest, new, domain="ier", parts=["all"])
    assert len(rows.index) == 40
    assert not rows.seen.any()


def test_the_wrong_domain_is_refused(
    trained: TrainResult, manifest: CheckpointManifest, shards: dict[str, str]
) -> None:
    with pytest.raises(SettingsError, match="a shard set of domain 'ier'; give one of domain 'fer"):
        choose_rows(trained.checkpoint, manifest, shards["ier"], domain="fer", parts=["test"])


def test_predictions_do_not_depend_on_workers_or_company(
    trained: TrainResult, manifest: CheckpointManifest, shards: dict[str, str]
) -> None:
    fer, ier = (
        choose_rows(trained.checkpoint, manifest, shards[domain], domain=domain, parts=["test"])
        for domain in ("fer", "ier")
    )
    both = Predictions.concatenated(predict(trained.checkpoint, [fer, ier], workers=2))
    (alone,) = predict(trained.checkpoint, [ier])
    together = both.select(both.domains == "ier")
    assert together.sample_ids.tolist() == alone.sample_ids.tolist()
    np.testing.assert_allclose(together.probabilities, alone.probabilities, rtol=1e-5)
    kept = Predictions.read(trained.predictions)
    kept = kept.select((kept.domains == "ier") & (kept.parts == "test"))
    np.testing.assert_allclose(kept.probabilities, alone.probabilities, rtol=1e-5)


@pytest.mark.timeout(400)
def test_the_job_prints_a_table_a_line_and_keeps_every_prediction(
    trained: TrainResult, manifest: CheckpointManifest, shards: dict[str, str], tmp_path: Path
) -> None:
    output = str(tmp_path / "kept.parquet")
    arguments = ["--checkpoint", trained.checkpoint, "--ier", shards["ier"], "--output", output]
    code, record, log = run_evaluate(*arguments, "--fer", shards["fer"], "--adjust-prior")
    assert code == 0, log
    assert record["predictions"] == output
    kept = Predictions.read(output)
    priors = manifest.priors("ier")
    found = evaluate_predictions(
        kept, domain="ier", trained_prior=priors[0], target_prior=priors[1]
    )
    assert record["ier"]["accuracy"] == found.accuracy == trained.test["ier"].accuracy
    assert found.adjusted is not None
    assert record["ier"]["adjusted"]["accuracy"] == found.adjusted.accuracy
    assert record["fer"]["accuracy"] == trained.test["fer"].accuracy
    assert "recall anger" in log
    assert "adjusted to the prior" in log

    code, _, log = run_evaluate(*arguments, "--part", "train")
    assert code == 1
    assert "96 of the 96 rows asked for trained or selected" in log
    assert not storage.exists(f"{tmp_path}/predictions-train.parquet")
    code, record, log = run_evaluate(*arguments, "--part", "all", "--allow-seen")
    assert record["ier"]["seen"] == 128
    assert record["ier"]["samples"] == 160
    assert "128 of the 160 ier images trained or selected" in log
    assert Predictions.read(output).seen.sum() == 128


def test_an_adjusted_network_gives_the_adjusted_probabilities(
    trained: TrainResult, shards: dict[str, str]
) -> None:
    """Shifted logits, as served and explained, are the adjustment of the probabilities."""
    manifest = read_checkpoint_manifest(trained.checkpoint)
    data = manifest.data["ier"].model_copy(update={"val_prior": [0.1, 0.2, 0.3, 0.4]})
    changed = manifest.model_copy(update={"data": {**manifest.data, "ier": data}})
    storage.write_json(f"{trained.checkpoint}/manifest.json", changed.model_dump(mode="json"))
    try:
        plain = Recognizer.load(trained.checkpoint, device="cpu")
        shifted = Recognizer.load(trained.checkpoint, device="cpu", adjust_prior=True)
    finally:
        storage.write_json(f"{trained.checkpoint}/manifest.json", manifest.model_dump(mode="json"))
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    expected = adjusted(plain.probabilities(pixels), *changed.priors("ier"))
    np.testing.assert_allclose(shifted.probabilities(pixels), expected, rtol=1e-5)
    assert not np.allclose(plain.probabilities(pixels), expected, rtol=1e-3)


def test_a_start_that_has_seen_the_test_images_is_refused(
    trained: TrainResult, shards: dict[str, str], tmp_path: Path
) -> None:
    """Before anything starts: the checkpoint trained on what would be the test fold."""
    schedule = {"fer_checkpoint": trained.checkpoint}
    check_data(tiny_settings(shards, tmp_path, schedule=schedule))
    moved = tiny_settings(shards, tmp_path, schedule=schedule, data__test_fold=3)
    with pytest.raises(DataError, match=r"fer_checkpoint .*: 32 test images of data\.fer"):
        check_data(moved)
