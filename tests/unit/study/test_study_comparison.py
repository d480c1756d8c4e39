"""A model and its explanations beside the annotators: counts by hand, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint
from support.predictions import random_predictions
from support.studies import CLASSES, answered, box, some_manifest

from ier_ray.errors import DataError, StorageError
from ier_ray.evaluation.intervals import wilson_interval
from ier_ray.evaluation.predictions import Predictions
from ier_ray.study.agreement import TIE, majority
from ier_ray.study.analysis import analyze_study
from ier_ray.study.annotations import Annotations, collect
from ier_ray.study.comparison import compare_to_majority, dataset_labels, out_of_fold_labels
from ier_ray.study.cues import GRID
from ier_ray.study.explanations import read_explanations
from ier_ray.study.manifest import StudyManifest
from ier_ray.study.result import as_text

IMAGES = 40
MANIFEST = some_manifest(IMAGES)


def predictions(manifest: StudyManifest = MANIFEST, **columns: Any) -> Predictions:
    """Out-of-fold predictions of the images, and of as many others."""
    rows = 2 * len(manifest.images)
    ids = np.array([f"sample-{number}" for number in range(rows)])[::-1]
    labels = np.array([number % 4 for number in range(rows)])[::-1].astype(np.int64)
    given = {"sample_ids": ids, "labels": labels, "seed": 5, **columns}
    return random_predictions(rows, **given)


def some_annotations(seed: int = 0, annotators: int = 3) -> Annotations:
    generator = np.random.default_rng(seed)
    truth = dataset_labels(MANIFEST)
    given = []
    for number in range(annotators):
        other = generator.integers(4, size=IMAGES)
        labels = np.where(generator.random(IMAGES) < 0.6, truth, other)
        given += answered(MANIFEST, f"annotator-{number}", labels)
    return collect(MANIFEST, given)


@pytest.mark.parametrize(("count", "of"), [(0, 7), (7, 7), (39, 50), (1, 1000), (500, 1000)])
def test_wilsons_interval_equals_its_reference(count: int, of: int) -> None:
    found = wilson_interval(count, of, level=0.9)
    assert (found.estimate, found.level) == (count / of, 0.9)
    expected = proportion_confint(count, of, alpha=0.1, method="wilson")
    assert_allclose([found.low, found.high], expected, atol=1e-12)


def test_wilsons_interval_by_hand() -> None:
    z = 1.959963984540054
    found = wilson_interval(60, 60)
    assert_allclose([found.low, found.high], [60 / (60 + z**2), 1])


def test_the_model_is_compared_on_images_with_a_majority() -> None:
    given = some_annotations()
    voted = majority(given.labels, 4)
    predicted = out_of_fold_labels(predictions(), MANIFEST)
    found = compare_to_majority(predicted, voted, given)
    decided = voted.labels != TIE
    assert 0 < decided.sum() < IMAGES
    right = int((predicted == voted.labels)[decided].sum())
    assert found.agreement is not None
    assert (found.agreement.count, found.agreement.of) == (right, decided.sum())
    low, high = proportion_confint(right, decided.sum(), method="wilson")
    assert_allclose([found.agreement.low, found.agreement.high], [100 * low, 100 * high])
    table = np.zeros((4, 4), dtype=int)
    for one, other in zip(voted.labels[decided], predicted[decided], strict=True):
        table[one, other] += 1
    assert found.confusion == table.tolist()
    assert found.kappa == pytest.approx(cohens_kappa(table).kappa)


def test_predictions_are_matched_by_sample_whatever_their_order() -> None:
    given = predictions()
    expected = {
        sample: int(row.argmax())
        for sample, row in zip(given.sample_ids.tolist(), given.probabilities, strict=True)
    }
    shuffled = given.select(np.random.default_rng(0).permutation(len(given)))
    found = out_of_fold_labels(shuffled, MANIFEST)
    assert found.tolist() == [expected[image.sample_id] for image in MANIFEST.images]


def test_predictions_of_seen_images_are_left_out() -> None:
    given = predictions()
    seen = predictions(
        probabilities=given.probabilities[:, ::-1], seen=np.ones(len(given), dtype=np.bool_)
    )
    both = Predictions.concatenated([seen, given])
    assert (out_of_fold_labels(both, MANIFEST) == out_of_fold_labels(given, MANIFEST)).all()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "other classes": ({"classes": ("sad", "happy", "hate", "anger")}, "predictions are of classes"),
    "seen": ({"seen": np.ones(80, dtype=np.bool_)}, "40 images of the study .* have no prediction"),
    "faces": ({"domains": np.full(80, "fer")}, "have no prediction by a model that did not see"),
    "other samples": (
        {"sample_ids": np.array([f"sample-{n}" for n in range(39)] + ["x"] * 41)},
        r"1 images of the study \(sample-39\) have no prediction",
    ),
    "two runs": (
        {"sample_ids": np.array([f"sample-{n // 2}" for n in range(80)])},
        "have several predictions; give those of one run",
    ),
    "other labels": ({"labels": np.zeros(80, dtype=np.int64)}, "have another label than in the st"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_predictions_are_refused(what: str) -> None:
    columns, told = WRONG[what]
    with pytest.raises(DataError, match=told):
        out_of_fold_labels(predictions(**columns), MANIFEST)


def explanation(name: str, **changes: Any) -> dict[str, Any]:
    """The left half of the image speaks for the class, the upper right quarter against it."""
    leaves = [
        {"top": 0, "bottom": 8, "left": 0, "right": 4, "value": 0.8},
        {"top": 0, "bottom": 4, "left": 4, "right": 8, "value": -0.3},
        {"top": 4, "bottom": 8, "left": 4, "right": 8, "value": 0.0},
    ]
    return {"name": name, "target": "sad", "image_size": 8, "leaves": leaves, "full": 1, **changes}


def write_explanations(path: Path, manifest: StudyManifest) -> str:
    for number, image in enumerate(manifest.images):
        name = image.sample_id if number % 2 else f"study/images/{image.image_id}.jpg"
        (path / f"{number}.json").write_text(json.dumps(explanation(name)))
    (path / "other.json").write_text(json.dumps(explanation("of another image")))
    (path / "0.npz").write_bytes(b"")
    return str(path)


def test_explanations_are_found_by_sample_or_exported_file(tmp_path: Path) -> None:
    found = read_explanations(write_explanations(tmp_path, MANIFEST), MANIFEST)
    assert len(found) == IMAGES
    half = GRID // 2
    for one in found:
        assert one.target == "sad"
        assert (one.density[:, :half] == 0.8 / 32).all()
        assert (one.density[:half, half:] == -0.3 / 16).all()
        assert (one.density[half:, half:] == 0).all()


def test_wrong_explanations_are_refused(tmp_path: Path) -> None:
    location = write_explanations(tmp_path, MANIFEST)
    image = MANIFEST.images[1]

    def refused(told: str, content: Any) -> None:
        (tmp_path / "1.json").write_text(json.dumps(content))
        with pytest.raises(DataError, match=told):
            read_explanations(location, MANIFEST)

    refused(
        f"1 of 40 images of the study have no explanation here \\({image.image_id}\\)",
        explanation("x"),
    )
    refused("is explained twice", explanation("sample-3"))
    refused("is explained for class 'joy'", explanation(image.sample_id, target="joy"))
    refused("1.json: is not an explanation: name", {"a": 1})
    outside = {"top": 0, "bottom": 9, "left": 0, "right": 4, "value": 1.0}
    refused("a region leaves the image", explanation(image.sample_id, leaves=[outside]))
    with pytest.raises(StorageError, match="cannot be listed"):
        read_explanations(str(tmp_path / "none"), MANIFEST)


def test_all_figures_of_a_study_as_record_and_table(tmp_path: Path) -> None:
    truth = dataset_labels(MANIFEST)
    given = collect(
        MANIFEST,
        [
            *answered(MANIFEST, "Ann", truth, box(0, GRID, 0, GRID // 2)),
            *answered(MANIFEST, "Bo", np.where(np.arange(IMAGES) < 4, (truth + 1) % 4, truth)),
        ],
    )
    result = analyze_study(
        MANIFEST,
        given,
        predictions=predictions(),
        explained=read_explanations(write_explanations(tmp_path, MANIFEST), MANIFEST),
        percentages=["90", "78.3"],
        seed=0,
    )
    record = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert record["agreement"]["observed"] == 0.9
    assert record["ties"] == MANIFEST.image_ids[:4]
    assert (record["majority"]["count"], record["majority"]["of"]) == (36, 40)
    assert record["dataset"]["agreement"]["percent"] == 100
    assert record["model"]["agreement"]["of"] == 36
    assert record["human_overlap"] is None
    same_class = record["explanations"]["same_class"]["explanation"]
    assert same_class["images"] == 10
    assert same_class["scores"]["mass"]["estimate"] == pytest.approx(1)
    assert record["percentages"] == {"90": [36], "78.3": []}
    votes = result.votes()
    assert votes[0]["majority"] is None
    assert votes[5] == {
        "image": MANIFEST.image_ids[5],
        "sample_id": "sample-5",
        "label": "sad",
        "votes": {"happy": 0, "sad": 2, "hate": 0, "anger": 0},
        "majority": "sad",
        "marked_by": ["Ann"],
    }
    text = as_text(result)
    assert "images with a majority class    36 of 40: 90.0 % (76.9 to 96.0)" in text
    assert "dataset's label is the majority class 36 of 36: 100.0 %" in text
    assert "78.3 %: no share of 40" in text
    assert "explanation, same class" in text
    assert set(CLASSES) == set(votes[0]["votes"])
