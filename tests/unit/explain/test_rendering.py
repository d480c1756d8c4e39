from __future__ import annotations

import numpy as np
import pytest
import torch
from support.games import PixelGame

from ier_ray.explain import DenseEvaluator, RegionTree, explain
from ier_ray.explain.baselines import baseline_image, before_normalization
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.metrics import cue_mass_ratio, positive_mass_inside
from ier_ray.explain.rendering import from_npz, overlay, strip, to_npz


@pytest.fixture
def explanation() -> Explanation:
    torch.manual_seed(0)
    weights = torch.randn(3 * 16 * 16, 3) / 20
    return explain(
        DenseEvaluator(lambda x: x.flatten(1) @ weights, torch.randn(3, 16, 16), torch.zeros(1)),
        RegionTree.halving(16, 16, depth=3),
    )


def test_npz_keeps_everything(explanation: Explanation) -> None:
    loaded = from_npz(to_npz(explanation))
    for name in ("credits", "full", "empty"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(explanation, name))
    np.testing.assert_array_equal(loaded.tree.rectangles, explanation.tree.rectangles)
    assert (loaded.contexts, loaded.variant) == ("both", "normalized")
    assert loaded.evaluations == explanation.evaluations
    assert loaded.inference == explanation.inference == "dense"


def test_overlay_is_red_for_and_blue_against() -> None:
    density = np.zeros((8, 8))
    density[:, :4], density[:, 4:] = 1.0, -1.0
    picture = overlay(np.full((8, 8, 3), 128, np.uint8), density, size=64).astype(int)
    assert picture.shape == (64, 64, 3)
    assert (picture[:, :32, 0] > picture[:, :32, 2] + 40).all()
    assert (picture[:, 32:, 2] > picture[:, 32:, 0] + 40).all()


def test_strip_shows_every_level_coarse_to_fine(explanation: Explanation) -> None:
    pixels = np.full((16, 16, 3), 128, np.uint8)
    picture = strip(pixels, explanation, 1, size=32)
    for number, level in enumerate((1, 2, 3)):
        expected = overlay(pixels, explanation.density_map(1, level=level), size=32)
        np.testing.assert_array_equal(picture[:, 32 * number : 32 * (number + 1)], expected)
    assert picture.shape == (32, 96, 3)
    alone = explain(PixelGame(np.ones_like, (16, 16)), RegionTree.halving(16, 16, depth=0))
    assert strip(pixels, alone, 0, size=32).shape == (32, 32, 3)


def test_overlay_of_nothing_is_gray() -> None:
    picture = overlay(np.full((8, 8, 3), 128, np.uint8), np.zeros((8, 8)), size=8).astype(int)
    assert np.ptp(picture, axis=2).max() < 5


def test_positive_mass_by_hand() -> None:
    density = np.array([[3.0, -5.0], [1.0, 0.0]])
    mask = np.array([[True, True], [False, False]])
    assert positive_mass_inside(density, mask) == 0.75
    assert positive_mass_inside(-np.ones((2, 2)), mask) == 0.0
    assert cue_mass_ratio([density], [mask]) == 1.5


def test_uniform_attribution_scores_one() -> None:
    masks = [np.eye(4, dtype=bool), np.ones((4, 4), dtype=bool)]
    assert cue_mass_ratio([np.ones((4, 4))] * 2, masks) == pytest.approx(1.0)


def test_baselines() -> None:
    image = torch.rand(3, 16, 16)
    assert baseline_image(image, "black").abs().max() == 0
    with pytest.raises(ValueError, match="zero is set after normalization"):
        baseline_image(image, "zero")
    assert before_normalization("zero") is None
    black = before_normalization("black")
    assert black is not None
    assert torch.equal(black(image), torch.zeros_like(image))
    mean = baseline_image(image, "mean")
    torch.testing.assert_close(mean[:, 3, 5], image.mean((1, 2)))
    color = baseline_image(image, "#ff8000")
    assert color.shape == image.shape
    torch.testing.assert_close(color[:, 7, 2], torch.tensor([1, 128 / 255, 0]))
    filled = baseline_image(image, "inpaint")
    border = torch.ones(16, 16, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    torch.testing.assert_close(filled[:, border], image[:, border])
    y, x = torch.linspace(0, 1, 16)[:, None], torch.linspace(0, 1, 16)
    bilinear = (0.1 + 0.3 * x + 0.2 * y + 0.4 * x * y).expand(3, 16, 16)
    torch.testing.assert_close(baseline_image(bilinear, "inpaint"), bilinear)
    blurred = baseline_image(image, "blur")
    assert blurred.shape == image.shape
    assert blurred.var() < 0.1 * image.var()
