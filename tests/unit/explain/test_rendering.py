from __future__ import annotations

import numpy as np
import pytest
import torch
from support.games import PixelGame, nonlinear

from ier_ray.explain import AnytimeExplainer, DenseEvaluator, RegionTree, explain
from ier_ray.explain.baselines import baseline_image, before_normalization
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.metrics import cue_mass_ratio, positive_mass_inside
from ier_ray.explain.rendering import from_npz, overlay, to_npz


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


def test_npz_keeps_what_several_trees_say() -> None:
    game = PixelGame(nonlinear(30, seed=1), (5, 6))
    mean = AnytimeExplainer(3, trees=3).explain(game)
    loaded = from_npz(to_npz(mean))
    assert loaded.forest is not None
    assert mean.forest is not None
    assert loaded.forest.trees == 3
    for name in ("density", "spread", "leaf_spread"):
        np.testing.assert_array_equal(getattr(loaded.forest, name), getattr(mean.forest, name))
    np.testing.assert_array_equal(loaded.density_map(1), mean.density_map(1))


def test_overlay_is_red_for_and_blue_against() -> None:
    density = np.zeros((8, 8))
    density[:, :4], density[:, 4:] = 1.0, -1.0
    picture = overlay(np.full((8, 8, 3), 128, np.uint8), density, size=64).astype(int)
    assert picture.shape == (64, 64, 3)
    assert (picture[:, :28, 0] > picture[:, :28, 2] + 40).all()
    assert (picture[:, 36:, 2] > picture[:, 36:, 0] + 40).all()


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((30, 50), None, (30, 50)),  # its own
        ((500, 2000), None, (256, 1024)),  # at most
        ((2000, 500), None, (1024, 256)),
        ((30, 50), 100, (60, 100)),
        ((64, 64), 32, (32, 32)),
        ((1, 3000), None, (1, 1024)),
    ],
)
def test_overlays_have_the_pictures_proportions(
    shape: tuple[int, int], size: int | None, expected: tuple[int, int]
) -> None:
    picture = np.full((*shape, 3), 128, np.uint8)
    assert overlay(picture, np.ones((4, 4)), size=size).shape == (*expected, 3)


def test_pictures_keep_their_colors_where_nothing_matters() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    density = np.zeros((10, 10))
    np.testing.assert_array_equal(overlay(picture, density), picture)
    density[:, 5:] = 1.0
    painted = overlay(picture, density)
    np.testing.assert_array_equal(painted[:, :12], picture[:, :12])
    assert np.abs(painted[:, 18:].astype(int) - picture[:, 18:]).mean() > 30


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
