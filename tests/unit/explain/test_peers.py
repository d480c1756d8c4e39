"""The peers' adapters: values on games worked out by hand, and no more evaluations than allowed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ier_ray.experiments.peers import GAME_PEERS, IMAGE_PEERS, Subject
from ier_ray.experiments.peers.image import positions
from ier_ray.experiments.peers.perturbation import ClassGame, balanced_clustering
from ier_ray.explain.evaluators import logit
from ier_ray.explain.shapley.exact import exact_shapley

WEIGHTS = np.array([1.0, -2.0, 0.5, 3.0, 0.0, 1.5, -0.5, 2.0])


def additive(shown: np.ndarray) -> np.ndarray:
    return 0.3 + shown @ WEIGHTS


def saturating(shown: np.ndarray) -> np.ndarray:
    return np.tanh(shown @ WEIGHTS / 2)


def counted(game: ClassGame) -> tuple[ClassGame, set[bytes]]:
    seen: set[bytes] = set()

    def play(shown: np.ndarray) -> np.ndarray:
        seen.update(row.tobytes() for row in shown)
        return game(shown)

    return play, seen


@pytest.mark.parametrize("name", GAME_PEERS)
@pytest.mark.parametrize("budget", [16, 32, 64])
def test_budgets_are_kept(name: str, budget: int) -> None:
    play, seen = counted(saturating)
    values = GAME_PEERS[name](play, 8, budget=budget, seed=0)
    assert values.shape == (8,)
    assert np.isfinite(values).all()
    assert 9 <= len(seen) <= budget


@pytest.mark.parametrize("name", sorted(set(GAME_PEERS) - {"captum_lime"}))
def test_additive_games_are_exact(name: str) -> None:
    values = GAME_PEERS[name](additive, 8, budget=64, seed=0)
    np.testing.assert_allclose(values, WEIGHTS, atol=1e-4)


def test_lime_ranks_an_additive_game() -> None:
    """Ridge regression shrinks; the order stays."""
    values = GAME_PEERS["captum_lime"](additive, 8, budget=200, seed=0)
    np.testing.assert_array_equal(np.argsort(values), np.argsort(WEIGHTS))


@pytest.mark.parametrize(
    "name", ["shap_kernel", "shap_permutation", "captum_shapley_sampling", "captum_kernel_shap"]
)
def test_shapley_methods_approach_exact_values(name: str) -> None:
    exact = exact_shapley(lambda shown: saturating(shown)[:, None], 8)[:, 0]
    few, many = (GAME_PEERS[name](saturating, 8, budget=b, seed=0) for b in (18, 6000))
    assert np.abs(many - exact).max() < 0.03
    assert np.abs(many - exact).max() < np.abs(few - exact).max()


def test_feature_ablation_by_hand() -> None:
    values = GAME_PEERS["captum_feature_ablation"](saturating, 8, budget=9, seed=0)
    total = WEIGHTS.sum()
    expected = np.tanh(total / 2) - np.tanh((total - WEIGHTS) / 2)
    np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize("name", GAME_PEERS)
def test_seeds_repeat_and_leave_the_global_generators_alone(name: str) -> None:
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    expected = np.random.random(), torch.rand(1).item()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    one, same = (GAME_PEERS[name](saturating, 8, budget=40, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert (np.random.random(), torch.rand(1).item()) == expected  # noqa: NPY002


@pytest.mark.parametrize("name", GAME_PEERS)
def test_too_small_budgets_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"budget of {name} must be >= \d+ .* got 3"):
        GAME_PEERS[name](additive, 8, budget=3, seed=0)


def test_clustering_of_three_regions() -> None:
    assert balanced_clustering(3).tolist() == [[0, 1, 2, 2], [3, 2, 3, 3]]


@pytest.fixture
def linear_subject() -> Subject:
    """Logit of class 1 is the sum of a kernel times the image: density is known."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    image, baseline = torch.rand(3, 8, 8), torch.zeros(3, 8, 8)
    return Subject(network.eval(), image, baseline, 1, network[0], (4, 4), score=logit)


def known_density(subject: Subject) -> np.ndarray:
    weight = subject.layer.get_parameter("weight")[1, :, 0, 0].detach()
    return (weight[:, None, None] * subject.image).sum(0).double().numpy() / 64


def test_integrated_gradients_of_a_linear_network(linear_subject: Subject) -> None:
    found = IMAGE_PEERS["captum_integrated_gradients"](linear_subject, budget=10)
    np.testing.assert_allclose(found, known_density(linear_subject), atol=1e-6)


def test_occlusion_of_a_linear_network(linear_subject: Subject) -> None:
    """Windows side by side: each pixel has its window's drop, in all three channels."""
    found = IMAGE_PEERS["captum_occlusion"](linear_subject, budget=5)
    blocks = known_density(linear_subject).reshape(2, 4, 2, 4).sum((1, 3))
    np.testing.assert_allclose(found / 3, np.kron(blocks, np.ones((4, 4))), atol=1e-6)
    assert positions(linear_subject, (4, 4)) == 4
    assert positions(linear_subject, (2, 2)) == 9
    with pytest.raises(ValueError, match="captum_occlusion must be >= 5, got 4"):
        IMAGE_PEERS["captum_occlusion"](linear_subject, budget=4)


def test_grad_cam_of_a_linear_network(linear_subject: Subject) -> None:
    """Map 1 has gradient 1/64 at every place, map 0 none."""
    found = IMAGE_PEERS["captum_grad_cam"](linear_subject, budget=1)
    np.testing.assert_allclose(found, known_density(linear_subject), atol=1e-6)
