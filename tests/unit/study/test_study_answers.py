"""Answers of the page: what is read of them, and which are refused, by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.studies import CLASSES, answered, box, some_manifest

from ier_ray.errors import DataError, StorageError
from ier_ray.study.annotations import collect
from ier_ray.study.cues import GRID
from ier_ray.study.manifest import StudyManifest, new_manifest, read_manifest
from ier_ray.study.page_answers import read_page_answers

MANIFEST = some_manifest(4)
IMAGES = MANIFEST.image_ids
RECTANGLE = {"kind": "rectangle", "x": 0.25, "y": 0.5, "width": 0.5, "height": 0.25}
STROKE = {"kind": "stroke", "radius": 0.05, "points": [[0.1, 0.1], [0.9, 0.1]]}


def saved(**changes: Any) -> dict[str, Any]:
    """A file as the page saves it."""
    return {
        "format": "ier_ray study answers",
        "version": 1,
        "study": MANIFEST.study_id,
        "annotator": "Ann",
        "consent": True,
        "consent_sha256": MANIFEST.consent_sha256,
        "answers": [
            {"image": image, "label": label, "cues": [RECTANGLE]}
            for image, label in zip(reversed(IMAGES), reversed(CLASSES), strict=True)
        ],
        **changes,
    }


def write(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def with_answer(**changes: Any) -> dict[str, Any]:
    answers = saved()["answers"]
    answers[1] |= changes
    return saved(answers=answers)


def with_cue(cue: Any) -> dict[str, Any]:
    return with_answer(cues=[cue])


def test_answers_become_labels_and_masks(tmp_path: Path) -> None:
    found = read_page_answers(write(tmp_path / "ann.json", saved()), MANIFEST)
    assert [one.image_id for one in found] == IMAGES[::-1]
    assert [one.label for one in found] == CLASSES[::-1]
    assert {one.annotator for one in found} == {"Ann"}
    quarter = GRID // 4
    for one in found:
        assert np.array_equal(one.cues, box(2 * quarter, 3 * quarter, quarter, 3 * quarter))


def test_a_stroke_has_its_radius_by_the_images_width(tmp_path: Path) -> None:
    found = read_page_answers(write(tmp_path / "ann.json", with_cue(STROKE)), MANIFEST)
    # 40 by 20 pixels: a line from (4, 2) to (36, 2), 2 pixels to either side.
    mask = found[1].cues
    assert mask[: GRID * 4 // 20, GRID // 2].all()
    assert not mask[GRID * 4 // 20 + 1 :, GRID // 2].any()
    assert mask[GRID // 10, GRID * 6 // 100 : GRID * 94 // 100].all()


FILES: dict[str, tuple[Callable[[], Any], str]] = {
    "no mapping": (lambda: [1, 2], "not a file that the page of a study saved"),
    "other format": (lambda: saved(format="x"), "not a file that the page .* format: "),
    "other version": (lambda: saved(version=2), "version: "),
    "other study": (
        lambda: saved(study="0123"),
        f"annotator 'Ann' annotated study 0123, but this is study {MANIFEST.study_id}",
    ),
    "no annotator": (lambda: saved(annotator=""), "annotator: "),
    "no consent": (lambda: saved(consent=False), "consent: "),
    "other consent text": (lambda: saved(consent_sha256="x"), "agreed to another consent text"),
    "foreign image": (lambda: with_answer(image="feed"), "image feed, annotator 'Ann': is no imag"),
    "unknown class": (
        lambda: with_answer(label="joy"),
        f"image {IMAGES[2]}, annotator 'Ann': class 'joy' is not one of",
    ),
    "unknown key": (lambda: with_answer(model="sad"), "answers.1.model: "),
    "unknown cue": (lambda: with_cue({"kind": "circle"}), "answers.1.cues.0: "),
    "not a number": (lambda: with_cue(RECTANGLE | {"x": "left"}), "answers.1.cues.0.rectangle.x"),
    "NaN": (lambda: with_cue(RECTANGLE | {"x": float("nan")}), "answers.1.cues.0.rectangle.x"),
    "outside": (lambda: with_cue(RECTANGLE | {"x": 1.5}), "answers.1.cues.0.rectangle.x"),
    "across the edge": (lambda: with_cue(RECTANGLE | {"x": 0.75}), "the rectangle leaves the im"),
    "stroke of no points": (lambda: with_cue(STROKE | {"points": []}), "stroke.points"),
    "stroke of no width": (lambda: with_cue(STROKE | {"radius": 0}), "stroke.radius"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_wrong_file_is_refused(what: str, tmp_path: Path) -> None:
    content, told = FILES[what]
    location = write(tmp_path / "ann.json", content())
    with pytest.raises(DataError, match=told) as caught:
        read_page_answers(location, MANIFEST)
    assert str(caught.value).startswith(location)


def test_a_file_that_is_missing_or_torn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file"):
        read_page_answers(str(tmp_path / "none.json"), MANIFEST)
    (tmp_path / "torn.json").write_text(json.dumps(saved())[:-5])
    with pytest.raises(StorageError, match="is not JSON"):
        read_page_answers(str(tmp_path / "torn.json"), MANIFEST)


LABELS = np.array([0, 1, 2, 3])


def test_complete_answers_are_in_the_order_of_images_and_names() -> None:
    cues = box(0, 5, 0, 5)
    bo = answered(MANIFEST, "Bo", LABELS[::-1], cues)
    found = collect(MANIFEST, [*bo[::-1], *answered(MANIFEST, "Ann", LABELS)])
    assert found.annotators == ("Ann", "Bo")
    assert found.labels.tolist() == [[0, 3], [1, 2], [2, 1], [3, 0]]
    assert [list(marks) for marks in found.cues] == [["Bo"]] * 4


def test_missing_answers_are_refused_by_name(tmp_path: Path) -> None:
    bo = answered(MANIFEST, "Bo", LABELS)
    with pytest.raises(DataError) as caught:
        collect(MANIFEST, [*answered(MANIFEST, "Ann", LABELS)[:2], *bo])
    assert str(caught.value).startswith(
        f"annotator 'Ann': 2 annotations ({IMAGES[2]}, {IMAGES[3]}) missing of 4"
    )
    location = write(tmp_path / "ann.json", with_answer(label=None))
    with pytest.raises(DataError, match=f"annotator 'Ann': 1 annotation \\({IMAGES[2]}\\) missing"):
        collect(MANIFEST, [*read_page_answers(location, MANIFEST), *bo])


def test_an_annotator_without_an_answer_is_not_overlooked(tmp_path: Path) -> None:
    blank = [answer | {"label": None} for answer in saved()["answers"]]
    given = read_page_answers(write(tmp_path / "ann.json", saved(answers=blank)), MANIFEST)
    others = [*answered(MANIFEST, "Bo", LABELS), *answered(MANIFEST, "Cy", LABELS)]
    with pytest.raises(DataError, match=r"annotator 'Ann': 4 annotations .* missing of 4"):
        collect(MANIFEST, [*given, *others])


def test_duplicate_answers_are_refused_by_name() -> None:
    ann = answered(MANIFEST, "Ann", LABELS)
    with pytest.raises(DataError, match=f"annotator 'Ann': 1 annotation \\({IMAGES[1]}\\) given t"):
        collect(MANIFEST, [*ann, ann[1], *answered(MANIFEST, "Bo", LABELS)])
    twice = [*ann, *ann, *answered(MANIFEST, "Bo", LABELS)]
    with pytest.raises(DataError, match=r"4 annotations .* given twice, in Ann.json"):
        collect(MANIFEST, twice)


def test_foreign_answers_are_refused_by_name() -> None:
    larger = some_manifest(5)
    foreign = answered(larger, "Ann", np.zeros(5, dtype=np.int64))
    with pytest.raises(DataError) as caught:
        collect(MANIFEST, [*foreign, *answered(MANIFEST, "Bo", LABELS)[1:]])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("annotator 'Ann': 1 annotation (000000000004) of no image of study")
    assert lines[1].startswith(f"annotator 'Bo': 1 annotation ({IMAGES[0]}) missing")


def test_one_annotator_is_too_few() -> None:
    with pytest.raises(DataError, match="2 annotators or more, but there are those of Ann"):
        collect(MANIFEST, answered(MANIFEST, "Ann", LABELS))
    with pytest.raises(DataError, match="there are those of none"):
        collect(MANIFEST, [])


def written(manifest: StudyManifest, directory: Path, **changes: Any) -> str:
    return write(directory / "study.json", manifest.model_dump(mode="json") | changes)


def test_a_manifest_is_read_from_its_file_or_directory(tmp_path: Path) -> None:
    location = written(MANIFEST, tmp_path)
    assert read_manifest(location) == read_manifest(str(tmp_path)) == MANIFEST


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format_version": 2}, "format version is 2"),
        ({"images": 3}, "not the manifest of a study: images"),
        ({"extra": 1}, "not the manifest of a study: extra"),
        ({"seed": 7}, "was changed after the export"),
        ({"study_id": "0"}, "was changed after the export"),
    ],
)
def test_a_wrong_manifest_is_refused(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told):
        read_manifest(written(MANIFEST, tmp_path, **changes))


def test_studies_that_differ_have_different_ids() -> None:
    other = MANIFEST.model_dump(exclude={"study_id", "format_version"}) | {"seed": 1}
    assert new_manifest(**other).study_id != MANIFEST.study_id
