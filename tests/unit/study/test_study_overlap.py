"""Overlap of maps with marked cues: laws, hand-computed cases, and the mean over random places."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from support.studies import CLASSES, NO_CUES, answered, box, some_manifest

from ier_ray.study.annotations import collect
from ier_ray.study.cue_overlap import explanation_overlaps, human_overlap
from ier_ray.study.cues import GRID
from ier_ray.study.explanations import ExplainedStudyImage
from ier_ray.study.overlap import Overlap, center_map, overlap, random_overlap


def as_map(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.float64)


def test_the_map_of_the_mask_itself_scores_one_and_one_outside_zero() -> None:
    mask = box(10, 50, 20, 90)
    assert overlap(as_map(mask), mask) == Overlap(1, 1, 1)
    assert overlap(as_map(box(100, 140, 20, 90)), mask) == Overlap(0, 0, 0)


def test_scores_computed_by_hand() -> None:
    mask = box(0, 20, 0, 20)  # 400 pixels
    values = np.zeros((GRID, GRID))
    values[0:20, 10:30] = 1.0  # half of these are inside
    values[100, 100] = 2.0  # the largest, outside
    values[200:220, 200:220] = -5.0  # what opposes the class has no part in mass
    # The 400 largest: the one outside, and 399 of the 400 that tie, half of them inside.
    common = 399 / 2
    expected = Overlap(mass=200 / 402, iou=common / (800 - common), pointing=0)
    found = overlap(values, mask)
    assert_allclose([found.mass, found.iou], [expected.mass, expected.iou])
    assert found.pointing == expected.pointing


def test_a_map_without_differences_scores_as_by_chance() -> None:
    mask = box(3, 60, 5, 200)
    found, share = overlap(np.ones((GRID, GRID)), mask), mask.mean()
    assert_allclose([found.mass, found.pointing], [share, share])
    assert_allclose(found.iou, share / (2 - share))
    assert overlap(np.zeros((GRID, GRID)), mask).mass == 0


@pytest.mark.parametrize("seed", range(3))
def test_random_places_are_the_mean_over_all_moves(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values, mask = generator.normal(size=(8, 12)).round(1), generator.random((8, 12)) < 0.3
    moves = [(down, right) for down in range(8) for right in range(12)]
    expected = Overlap.mean([overlap(np.roll(values, move, (0, 1)), mask) for move in moves])
    found = random_overlap(values, mask)
    assert_allclose(
        [found.mass, found.iou, found.pointing],
        [expected.mass, expected.iou, expected.pointing],
        atol=1e-12,
    )


def test_the_center_map_is_largest_in_the_middle_and_symmetric() -> None:
    values = center_map()
    middle = GRID // 2
    assert (values[middle - 1 : middle + 1, middle - 1 : middle + 1] == values.max()).all()
    assert_allclose(values, values[::-1, ::-1])
    assert overlap(values, box(90, 134, 90, 134)).pointing == 1


def explained(labels: list[str], density: np.ndarray) -> list[ExplainedStudyImage]:
    return [ExplainedStudyImage(label, density) for label in labels]


def test_overlaps_of_a_study() -> None:
    manifest = some_manifest(4)
    labels = np.array([0, 1, 2, 3])
    here, there = box(0, 40, 0, 40), box(100, 140, 0, 40)
    annotations = collect(
        manifest,
        [
            *answered(manifest, "Ann", labels, here),
            *answered(manifest, "Bo", labels * 0, there),
            *answered(manifest, "Cy", labels, NO_CUES),
        ],
    )
    maps = explained([CLASSES[label] for label in labels], as_map(here))
    found = explanation_overlaps(annotations, maps, CLASSES, same_class=False, seed=0)
    assert found.explanation is not None
    assert found.random is not None
    assert found.center is not None
    assert (found.explanation.images, found.explanation.masks) == (4, 8)
    mass = found.explanation.scores["mass"]
    assert (mass.estimate, mass.low, mass.high) == (0.5, 0.5, 0.5)  # all images alike
    assert found.random.scores["mass"].estimate == pytest.approx(here.mean())
    # Bo chose the explained class of the first image only.
    found = explanation_overlaps(annotations, maps, CLASSES, same_class=True, seed=0)
    assert found.explanation is not None
    assert (found.explanation.images, found.explanation.masks) == (4, 5)
    assert found.explanation.scores["iou"].estimate == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert found.explanation.scores["iou"].low < 0.875 < found.explanation.scores["iou"].high
    between = human_overlap(annotations, seed=0)
    assert between is not None
    assert (between.images, between.masks) == (4, 8)
    assert between.scores["mass"].estimate == 0


def test_without_marks_there_are_no_overlaps() -> None:
    manifest = some_manifest(4)
    labels = np.array([0, 1, 2, 3])
    annotations = collect(
        manifest,
        [*answered(manifest, "Ann", labels, box(0, 9, 0, 9)), *answered(manifest, "Bo", labels)],
    )
    assert human_overlap(annotations, seed=0) is None
    maps = explained(["sad"] * 4, np.zeros((GRID, GRID)))
    only = explanation_overlaps(annotations, maps, CLASSES, same_class=True, seed=0)
    assert only.explanation is not None
    assert only.explanation.masks == 1
