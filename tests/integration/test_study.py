"""The study's jobs, with a trained network: from the export to the model beside the annotators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.runs import ROOT

from ier_ray.cluster.explainer import explain_images
from ier_ray.cluster.trainer import TrainResult
from ier_ray.data.samples import images_from_files
from ier_ray.emotions import FOUR
from ier_ray.evaluation.predictions import Predictions
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.study.manifest import read_manifest
from ier_ray.training.checkpoint import read_checkpoint_manifest

IMAGES = 8
WHOLE = {"kind": "rectangle", "x": 0, "y": 0, "width": 1, "height": 1}
LEFT = WHOLE | {"width": 0.5}


def run_job(job: str, *arguments: str) -> dict[str, Any]:
    """A job in a process of its own, without a cluster; its last line."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / f"{job}.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


@pytest.fixture(scope="module")
def exported(
    trained: TrainResult, shards: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    output = str(tmp_path_factory.mktemp("study"))
    return run_job(
        "study_export",
        *("--shards", shards["ier"], "--images", str(IMAGES), "--output", output),
        *("--faces", "none"),
    )


def answers(exported: dict[str, Any], path: Path, name: str, labels: list[int], cue: Any) -> str:
    """The file of an annotator."""
    manifest = read_manifest(exported["files"]["study"])
    content = {
        "format": "ier_ray study answers",
        "version": 1,
        "study": manifest.study_id,
        "annotator": name,
        "consent": True,
        "consent_sha256": manifest.consent_sha256,
        "answers": [
            {"image": image, "label": manifest.classes[label], "cues": [cue]}
            for image, label in zip(manifest.image_ids, labels, strict=True)
        ],
    }
    (path / f"{name}.json").write_text(json.dumps(content))
    return str(path / f"{name}.json")


def test_annotators_a_model_and_its_explanations(
    exported: dict[str, Any], trained: TrainResult, tmp_path: Path
) -> None:
    manifest = read_manifest(exported["files"]["study"])
    predictions = Predictions.read(trained.predictions)
    predicted = dict(
        zip(predictions.sample_ids.tolist(), predictions.probabilities.argmax(1), strict=True)
    )
    model = [int(predicted[image.sample_id]) for image in manifest.images]
    other = [(label + (number < 2)) % 4 for number, label in enumerate(model)]
    preprocessing = read_checkpoint_manifest(trained.checkpoint).preprocessing
    files = [str(path) for path in sorted(Path(exported["files"]["images"]).glob("*.jpg"))]
    explain_images(
        trained.checkpoint,
        images_from_files(files, preprocessing=preprocessing),
        str(tmp_path / "explained"),
        scheme=FOUR,
        settings=ExplainerSettings(depth=3),
    )
    record = run_job(
        "study_import",
        *("--study", str(Path(exported["files"]["study"]).parent)),
        *("--answers", answers(exported, tmp_path, "Ann", model, WHOLE)),
        answers(exported, tmp_path, "Bo", model, LEFT),
        answers(exported, tmp_path, "Cy", other, LEFT),
        *("--predictions", trained.predictions, "--explanations", str(tmp_path / "explained")),
        *("--percentages", "75", "78.3", "--output", str(tmp_path / "agreement.json")),
    )
    assert (record["images"], record["annotators"]) == (IMAGES, ["Ann", "Bo", "Cy"])
    assert record["agreement"]["cohen"]["Ann"]["Bo"] in (1, None)
    assert record["agreement"]["observed"] == pytest.approx((1 + 0.75 + 0.75) / 3)
    assert record["model"]["agreement"]["percent"] == 100
    assert record["model"]["agreement"]["low"] == pytest.approx(100 * 8 / (8 + 1.96**2), abs=0.01)
    assert record["percentages"] == {"75": [6], "78.3": []}
    assert record["ties"] == []
    overlaps = record["explanations"]["all_cues"]
    assert (overlaps["explanation"]["images"], overlaps["explanation"]["masks"]) == (8, 24)
    # Ann marks all, so that whatever speaks for the class is inside: mass is the mean of hers and
    # twice what is in the left half.
    left = [left_mass(tmp_path / "explained" / f"{Path(file).stem}.json") for file in files]
    expected = np.mean([(1 + 2 * share) / 3 for share in left])
    assert overlaps["explanation"]["scores"]["mass"]["estimate"] == pytest.approx(expected)
    assert overlaps["random"]["scores"]["mass"]["estimate"] == pytest.approx(2 / 3)
    # Left is half of all, and all of left: shares inside another's marks are 1/2, 1, and 1.
    human = record["human_overlap"]["scores"]
    assert human["mass"]["estimate"] == pytest.approx((0.5 + 1 + 0.5 + 1 + 1 + 1) / 6)
    written = json.loads((tmp_path / "agreement.json").read_text())
    assert len(written["votes"]) == IMAGES
    assert {key: written[key] for key in record if key != "output"} == {
        key: value for key, value in record.items() if key != "output"
    }


def left_mass(file: Path) -> float:
    """The share of the positive credit in the left half, from the regions of an explanation."""
    record = json.loads(file.read_text())
    middle = record["image_size"] / 2
    inside = total = 0.0
    for leaf in record["leaves"]:
        positive = max(leaf["value"], 0)
        width = leaf["right"] - leaf["left"]
        total += positive
        inside += positive * np.clip(middle - leaf["left"], 0, width) / width
    return inside / total if total else 0.0


def test_the_export_says_what_it_wrote(exported: dict[str, Any], shards: dict[str, str]) -> None:
    assert exported["images"] == sum(exported["classes"].values()) == IMAGES
    assert exported["screening"]["method"] == "none"
    manifest = read_manifest(exported["files"]["study"])
    assert (manifest.study_id, manifest.part) == (exported["study_id"], "test")
    assert manifest.shards == shards["ier"]
    tasks = json.loads((Path(exported["files"]["label_studio"]) / "tasks.json").read_text())
    assert len(tasks) == IMAGES
