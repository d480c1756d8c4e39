"""Sheets: what is on them, in which size, colors and proportions."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.games import PixelGame, nonlinear

from ier_ray.explain import AnytimeExplainer
from ier_ray.explain.rendering import overlay
from ier_ray.explain.sheets import (
    GAP,
    LINE,
    PANEL,
    THUMBNAIL,
    Caption,
    broken,
    in_units,
    level_sheet,
    sheet,
    uncertainty,
)

CAPTION = Caption(
    name="pictures/Cat 5 $x_1$.jpg",
    target=("awe", 0.25),
    prediction=("awe", 0.25),
    label="fear",
    score="probability",
    settings="how it was explained",
)


def picture_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def read(content: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def found_at(page: np.ndarray, part: np.ndarray) -> list[tuple[int, int]]:
    """Where a part is on a page, to the pixel."""
    height, width = part.shape[:2]
    corner = (page[: page.shape[0] - height + 1, : page.shape[1] - width + 1] == part[0, 0]).all(2)
    return [
        (y, x)
        for y, x in np.argwhere(corner).tolist()
        if np.array_equal(page[y : y + height, x : x + width], part)
    ]


@pytest.mark.parametrize("shape", [(400, 500), (600, 400), (61, 377)])
def test_the_picture_is_shown_pixel_by_pixel_in_its_own_colors(shape: tuple[int, int]) -> None:
    picture = picture_of(*shape)
    explanation = AnytimeExplainer(3).explain(PixelGame(nonlinear(64, 1), (8, 8)))
    page = read(sheet(picture, explanation, 0, CAPTION))
    places = found_at(page, picture)
    assert len(places) == 1
    (top, left) = places[0]
    assert (left, top) == (GAP, 4 * LINE)
    assert (page[: top - LINE] < 128).any()  # the name and the classes
    assert (page[top + shape[0] + LINE // 2 :] < 128).any()  # and how it was explained


@pytest.mark.parametrize("trees", [1, 4])
def test_beside_it_are_the_overlay_its_scale_and_the_spread(trees: int) -> None:
    picture = np.full((400, 500, 3), 128, np.uint8)
    explanation = AnytimeExplainer(3, trees=trees).explain(PixelGame(nonlinear(64, 1), (8, 8)))
    page = read(sheet(picture, explanation, 0, CAPTION)).astype(int)
    expected = overlay(picture, explanation.density_map(0)).astype(int)
    left, top = 2 * GAP + 500, 4 * LINE
    shown = page[top : top + 400, left : left + 500]
    apart = np.abs(shown - expected).max(2) > 2
    assert 0 < apart.mean() < 0.1  # the outlines alone
    beyond = page[top : top + 400, left + 500 + GAP :]
    bar = beyond[:, 7].astype(int)  # from red above to blue below
    assert bar[20, 0] > bar[20, 2] + 40
    assert bar[-20, 2] > bar[-20, 0] + 40
    one = 2 * (500 + GAP) + 14 + GAP + 66 + GAP
    assert page.shape[1] == (one if trees == 1 else one + 500 + GAP + 14 + GAP + 66)


def test_what_is_shown_of_the_uncertainty() -> None:
    game = PixelGame(nonlinear(64, 1), (8, 8))
    assert uncertainty(AnytimeExplainer(3).explain(game), 0) is None
    refined = AnytimeExplainer(3, budget=60).explain(game)
    found = uncertainty(refined, 1)
    assert found is not None
    assert refined.deviations is not None
    assert found[0] == "posterior standard deviation"
    assert found[1].sum() == pytest.approx(refined.deviations[:, 1].sum())
    several = uncertainty(AnytimeExplainer(3, trees=2, first_axis="both").explain(game), 0)
    assert several is not None
    assert several[0] == "standard deviation over 4 trees"


def test_small_and_large_pictures_are_shown_in_a_readable_size() -> None:
    explanation = AnytimeExplainer(2).explain(PixelGame(nonlinear(64, 1), (8, 8)))
    for shape, longest in (((32, 64), PANEL[0]), ((1000, 2000), PANEL[1])):
        page = read(sheet(picture_of(*shape), explanation, 0, CAPTION))
        assert page.shape[1] > 2 * longest
        assert page.shape[0] == pytest.approx(longest / 2 + 4 * LINE + 3.5 * LINE, abs=2 * LINE)


def test_levels_are_in_their_order_each_with_its_scale() -> None:
    picture = picture_of(120, 240)
    explanation = AnytimeExplainer(5).explain(PixelGame(nonlinear(64, 1), (8, 8)))
    page = read(level_sheet(picture, explanation, 1, CAPTION))
    for level in range(1, 6):
        expected = overlay(picture, explanation.density_map(1, level=level), size=THUMBNAIL)
        row, column = divmod(level - 1, 4)
        ((top, left),) = found_at(page, expected)
        assert left == GAP + column * (240 + GAP)
        assert (top > 120 + 4 * LINE) == (row == 1)
        assert (page[top + 121 : top + 120 + LINE, left : left + 240] < 128).any()
    several = AnytimeExplainer(3, trees=2).explain(PixelGame(nonlinear(64, 1), (8, 8)))
    page = read(level_sheet(picture, several, 1, CAPTION))
    assert len(found_at(page, overlay(picture, several.density_map(1), size=THUMBNAIL))) == 1
    alone = AnytimeExplainer(0).explain(PixelGame(nonlinear(64, 1), (8, 8)))
    page = read(level_sheet(picture, alone, 0, CAPTION))
    assert len(found_at(page, overlay(picture, alone.density_map(0), size=THUMBNAIL))) == 1


def test_credit_is_shown_per_hundredth_of_the_area() -> None:
    """Half of 0.2 in a quarter of the picture: 0.1 · 100 / 25 points per 1 % there."""
    density = np.zeros((10, 20))
    density[:5, :10] = 0.1 / 50
    np.testing.assert_allclose(in_units(density, "probability")[0, 0], 0.4)
    np.testing.assert_allclose(in_units(density, "log_odds")[0, 0], 0.004)


def test_captions_say_classes_probabilities_and_the_label() -> None:
    name, classes = CAPTION.lines()
    assert name == "pictures/Cat 5 $x_1$.jpg"
    assert classes == "explained class: awe (25.0%), the predicted one; true label: fear"
    other = replace(CAPTION, prediction=("sad", 0.7), label=None)
    assert other.lines()[1] == (
        "explained class: awe (25.0%); predicted: sad (70.0%); true label: not known"
    )


def test_lines_are_broken_to_fit() -> None:
    lines = broken(["one two three " * 20, "", "x" * 200], width=310)
    assert max(map(len, lines)) <= 50
    assert " ".join(lines).split()[:3] == ["one", "two", "three"]
    assert "".join(lines).count("x") == 200
