"""The jobs of a study: from the export to a model and its explanations beside the annotators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.checkpoints import save_tiny
from support.predictions import random_predictions
from support.runs import ROOT, SIZE
from support.shards import write_domains

from ier_ray.data.listing import LayoutSettings
from ier_ray.data.sources import SyntheticSource
from ier_ray.study.manifest import StudyManifest, read_manifest

IMAGES = 8
WHOLE = {"kind": "rectangle", "x": 0, "y": 0, "width": 1, "height": 1}
LEFT = WHOLE | {"width": 0.5}


def run_job(job: str, *arguments: str) -> dict[str, Any]:
    """A job in a process of its own, which starts a cluster if it needs one; its last line."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / f"{job}.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Their shard set."""
    source = SyntheticSource(samples=80, size=SIZE, seed=3)
    return write_domains(source, tmp_path_factory.mktemp("scenes"), LayoutSettings())["ier"]


@pytest.fixture(scope="module")
def exported(scenes: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = str(tmp_path_factory.mktemp("study"))
    return run_job(
        "study_export",
        *("--shards", scenes, "--images", str(IMAGES), "--output", output, "--faces", "none"),
    )


def answers(manifest: StudyManifest, path: Path, name: str, labels: list[int], cue: Any) -> str:
    """The file of an annotator."""
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


def predictions(manifest: StudyManifest, path: Path) -> tuple[str, list[int]]:
    """A file of predictions of the images, and the predicted classes."""
    labels = np.array([manifest.classes.index(image.label) for image in manifest.images])
    ids = np.array([image.sample_id for image in manifest.images])
    found = random_predictions(IMAGES, seed=1, labels=labels, sample_ids=ids)
    found.write(str(path / "predictions.parquet"))
    return str(path / "predictions.parquet"), found.probabilities.argmax(1).tolist()


def test_annotators_a_model_and_its_explanations(exported: dict[str, Any], tmp_path: Path) -> None:
    manifest = read_manifest(exported["files"]["study"])
    predicted, model = predictions(manifest, tmp_path)
    other = [(label + (number < 2)) % 4 for number, label in enumerate(model)]
    files = [str(path) for path in sorted(Path(exported["files"]["images"]).glob("*.jpg"))]
    run_job(
        "explain",
        *("--checkpoint", save_tiny(tmp_path / "checkpoint"), "--depth", "3"),
        *("--output", str(tmp_path / "explained"), "--images", *files),
    )
    record = run_job(
        "study_import",
        *("--study", str(Path(exported["files"]["study"]).parent)),
        *("--answers", answers(manifest, tmp_path, "Ann", model, WHOLE)),
        answers(manifest, tmp_path, "Bo", model, LEFT),
        answers(manifest, tmp_path, "Cy", other, LEFT),
        *("--predictions", predicted, "--explanations", str(tmp_path / "explained")),
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


def test_the_export_says_what_it_wrote(exported: dict[str, Any], scenes: str) -> None:
    assert exported["images"] == sum(exported["classes"].values()) == IMAGES
    assert exported["screening"]["method"] == "none"
    manifest = read_manifest(exported["files"]["study"])
    assert (manifest.study_id, manifest.part) == (exported["study_id"], "test")
    assert manifest.shards == scenes
    tasks = json.loads((Path(exported["files"]["label_studio"]) / "tasks.json").read_text())
    assert len(tasks) == IMAGES
