"""Explainers that score coalitions of regions: shap's and captum's, on the same game as ours.

A library sees n features, 1 where a region shows the image and 0 where it shows the baseline. The
game applies them, so all methods have the same regions and baseline. Each peer gets settings that
score at most ``budget`` different coalitions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import shap
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import FeatureAblation, KernelShap, Lime, ShapleyValueSampling
from numpy.typing import NDArray
from torch import Tensor

from ier_ray.experiments.peers.seeding import seeded

Values = NDArray[np.float64]
ClassGame = Callable[[NDArray[np.bool_]], Values]
"""Scores of one class: coalitions ``(M, n)`` to ``(M,)``."""


class GamePeer(Protocol):
    """A value for each region, from at most ``budget`` coalitions."""

    def __call__(self, game: ClassGame, regions: int, *, budget: int, seed: int) -> Values:
        """Values ``(n,)``.

        Raises:
            ValueError: when the budget is below the least that the method needs.
        """


def shap_kernel(game: ClassGame, regions: int, *, budget: int, seed: int) -> Values:
    """``shap.KernelExplainer``: weighted least squares, without selecting features."""
    require(budget, regions + 2, "shap_kernel")
    with seeded(seed):
        explainer = shap.KernelExplainer(on_features(game), np.zeros((1, regions)))
        values = explainer.shap_values(
            np.ones((1, regions)), nsamples=budget - 2, l1_reg=False, silent=True
        )
    return np.asarray(values, dtype=np.float64).ravel()


def shap_permutation(game: ClassGame, regions: int, *, budget: int, seed: int) -> Values:
    """``shap.explainers.Permutation``: antithetic permutations, their ends scored once."""
    require(budget, 2 * regions, "shap_permutation")
    permutations = (budget - 2) // max(2 * regions - 2, 1)
    masker = shap.maskers.Independent(np.zeros((1, regions)), max_samples=1)
    with seeded(seed):
        explainer = shap.explainers.Permutation(on_features(game), masker, seed=seed)
        found = explainer(
            np.ones((1, regions)), max_evals=permutations * (2 * regions + 1), silent=True
        )
    return np.asarray(found.values[0], dtype=np.float64)


def shap_partition(game: ClassGame, regions: int, *, budget: int, seed: int) -> Values:
    """``shap.explainers.Partition`` on the balanced tree of the regions, in their order."""
    require(budget, 4, "shap_partition")
    masker = shap.maskers.Partition(
        np.zeros((1, regions)), max_samples=1, clustering=balanced_clustering(regions)
    )
    with seeded(seed):
        explainer = shap.explainers.Partition(on_features(game), masker)
        found = explainer(np.ones((1, regions)), max_evals=budget, silent=True)
    return np.asarray(found.values[0], dtype=np.float64)


def captum_shapley_sampling(game: ClassGame, regions: int, *, budget: int, seed: int) -> Values:
    """``ShapleyValueSampling``: as many permutations as the budget pays for."""
    require(budget, regions + 1, "captum_shapley_sampling")
    permutations = (budget - 2) // max(regions - 1, 1)
    return by_captum(ShapleyValueSampling, game, regions, seed, n_samples=permutations)


def captum_kernel_shap(game: ClassGame, regions: int, *, budget: int, seed: int) -> Values:
    """``KernelShap``: coalitions drawn independently."""
    require(budget, regions + 2, "captum_kernel_shap")
    return by_captum(KernelShap, game, regions, seed, n_samples=budget)


def captum_lime(game: ClassGame, regions: int, *, budget: int, seed: int) -> Values:
    """``Lime`` with ridge regression: captum's own lasso finds only zeros in probabilities."""
    require(budget, regions + 2, "captum_lime")

    def lime(forward: Callable[[Tensor], Tensor]) -> Any:
        return Lime(forward, interpretable_model=SkLearnRidge(alpha=1.0))

    return by_captum(lime, game, regions, seed, n_samples=budget)


def captum_feature_ablation(game: ClassGame, regions: int, *, budget: int, seed: int) -> Values:
    """``FeatureAblation``: one region hidden at a time, n + 1 evaluations whatever the budget."""
    require(budget, regions + 1, "captum_feature_ablation")
    return by_captum(FeatureAblation, game, regions, seed)


GAME_PEERS: dict[str, GamePeer] = {
    "shap_kernel": shap_kernel,
    "shap_permutation": shap_permutation,
    "shap_partition": shap_partition,
    "captum_shapley_sampling": captum_shapley_sampling,
    "captum_kernel_shap": captum_kernel_shap,
    "captum_lime": captum_lime,
    "captum_feature_ablation": captum_feature_ablation,
}


def on_features(game: ClassGame) -> Callable[[Values], Values]:
    """A game as a model of n features, 1 or 0."""
    return lambda features: game(np.asarray(features) > 0.5)


def by_captum(
    method: Callable[[Callable[[Tensor], Tensor]], Any],
    game: ClassGame,
    regions: int,
    seed: int,
    **settings: Any,
) -> Values:
    """Attributions of a perturbation method of captum."""

    def forward(features: Tensor) -> Tensor:
        return torch.from_numpy(game(features.numpy() > 0.5))

    ones, zeros = torch.ones(1, regions), torch.zeros(1, regions)
    with seeded(seed):
        found = method(forward).attribute(ones, baselines=zeros, **settings)
    return np.asarray(found[0].numpy(), dtype=np.float64)


def balanced_clustering(regions: int) -> Values:
    """Neighbors merged in turn, as scipy linkage rows."""
    rows, nodes, sizes = [], list(range(regions)), [1] * regions
    while len(nodes) > 1:
        merged, counts = [], []
        for at in range(0, len(nodes) - 1, 2):
            size = sizes[at] + sizes[at + 1]
            rows.append([nodes[at], nodes[at + 1], size, size])
            merged.append(regions + len(rows) - 1)
            counts.append(size)
        if len(nodes) % 2:
            merged.append(nodes[-1])
            counts.append(sizes[-1])
        nodes, sizes = merged, counts
    return np.array(rows, dtype=np.float64)


def require(budget: int, least: int, name: str) -> None:
    """Refuse a budget that a method cannot work with."""
    if budget < least:
        raise ValueError(f"budget of {name} must be >= {least} for these regions, got {budget}")
