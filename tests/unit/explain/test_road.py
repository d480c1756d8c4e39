"""Pixels that are filled in from their neighbors, and curves of images with such pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ier_ray.explain import road
from ier_ray.explain.road import Curves, curves, imputed


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(road, "NOISE", 0.0)


def test_one_pixel_is_the_weighted_mean_of_its_eight_neighbors() -> None:
    image = torch.arange(9.0).reshape(1, 3, 3) ** 2
    hidden = np.zeros((3, 3), bool)
    hidden[1, 1] = True
    found = imputed(image, hidden, generator=generator())
    # 1, 9, 25 and 49 beside it, 0, 4, 36 and 64 at the corners
    assert found[0, 1, 1] == pytest.approx((1 + 9 + 25 + 49) / 6 + (0 + 4 + 36 + 64) / 12)
    shown = torch.from_numpy(~hidden)
    assert torch.equal(found[:, shown], image[:, shown])


def test_a_corner_has_three_neighbors() -> None:
    image = torch.tensor([[[100.0, 3.0], [6.0, 9.0]]])
    hidden = np.array([[True, False], [False, False]])
    found = imputed(image, hidden, generator=generator())[0, 0, 0]
    assert found == pytest.approx((3 / 6 + 6 / 6 + 9 / 12) / (1 / 6 + 1 / 6 + 1 / 12))


def test_hidden_pixels_solve_the_equations_together() -> None:
    """Each hidden pixel is the mean of its neighbors as they are filled in."""
    image = torch.rand(3, 9, 11, generator=generator())
    hidden = np.random.default_rng(0).random((9, 11)) < 0.7
    found = imputed(image, hidden, generator=generator()).double().numpy()
    for y, x in np.argwhere(hidden):
        total, weights = np.zeros(3), 0.0
        for dy, dx, weight in road.NEIGHBORS:
            if 0 <= y + dy < 9 and 0 <= x + dx < 11:
                total += weight * found[:, y + dy, x + dx]
                weights += weight
        np.testing.assert_allclose(found[:, y, x], total / weights, atol=1e-5)


def test_even_and_linear_images_are_filled_in_without_a_trace() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    image = (0.3 + 0.1 * x - 0.2 * y)[None]
    hidden = np.zeros((12, 12), bool)
    hidden[3:9, 2:7] = True
    torch.testing.assert_close(imputed(image, hidden, generator=generator()), image)


def test_noise_is_small_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(road, "NOISE", 0.01)
    hidden = np.zeros((40, 40), bool)
    hidden[5:35, 5:35] = True
    one = imputed(torch.zeros(2, 40, 40), hidden, generator=generator())
    again = imputed(torch.zeros(2, 40, 40), hidden, generator=generator())
    assert torch.equal(one, again)
    assert float(one[:, 5:35, 5:35].std()) == pytest.approx(0.01, rel=0.1)
    assert one[:, :5].abs().max() == 0


def test_nothing_or_everything_hidden() -> None:
    image = torch.rand(3, 4, 4)
    assert torch.equal(imputed(image, np.zeros((4, 4), bool), generator=generator()), image)
    with pytest.raises(ValueError, match="all pixels are hidden: at least one must show"):
        imputed(image, np.ones((4, 4), bool), generator=generator())


def test_curves_by_hand() -> None:
    """The score is the sum of a row of four pixels, 8 0 0 0; a hidden end becomes its neighbor."""

    def score(images: Tensor) -> np.ndarray:
        found: np.ndarray = images.sum((1, 2, 3)).double().numpy()
        return found

    image = torch.tensor([[[8.0, 0.0, 0.0, 0.0]]])
    right = np.array([[3.0, 0.0, 1.0, 2.0]])
    found = curves(score, image, right, generator=generator(), shares=(0.25, 0.5))
    # Without the first, then the fourth: both 0. Without the second: 8 + 4; and the third: the
    # hidden two lie evenly between 8 and 0.
    np.testing.assert_allclose(found.deletion, [0, 0], atol=1e-6)
    np.testing.assert_allclose(found.insertion, [12, 8 + 16 / 3 + 8 / 3], atol=1e-5)
    assert found.gap == pytest.approx(14)
    wrong = curves(score, image, -right, generator=generator(), shares=(0.25, 0.5))
    assert wrong.gap == pytest.approx(-14)


def test_an_attribution_of_the_evidence_beats_a_random_one() -> None:
    weights = torch.zeros(1, 16, 16)
    weights[:, 4:8, 4:8] = 1

    def score(images: Tensor) -> np.ndarray:
        found: np.ndarray = (images * weights).sum((1, 2, 3)).double().numpy()
        return found

    image = weights + 0.1 * torch.rand(1, 16, 16, generator=generator())
    good = curves(score, image, weights[0].numpy(), generator=generator())
    random = np.random.default_rng(0).normal(size=(16, 16))
    assert isinstance(good, Curves)
    assert good.gap > curves(score, image, random, generator=generator()).gap + 5
