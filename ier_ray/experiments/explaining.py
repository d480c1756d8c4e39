"""Measures an explainer: Table 1 with figures in the place of words."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats

from ier_ray.config import Settings
from ier_ray.data.streams import ExecuteReads
from ier_ray.errors import DataError
from ier_ray.experiments.cases import Counter, Explained, explained, subject
from ier_ray.experiments.explainers import (
    EXACT,
    INCREMENTAL,
    RANDOM,
    credits_of,
    game_of,
)
from ier_ray.experiments.timing import exponent, fastest
from ier_ray.experiments.units import Unit
from ier_ray.explain.metrics import (
    area_under,
    deletion_curve,
    infidelity,
    insertion_curve,
    pointing_game,
)

Values = NDArray[np.float64]
OTHER_SCALE = ("captum_occlusion", "captum_grad_cam", RANDOM)
"""Explainers whose values are in no unit of the score: they have no error and no infidelity."""
Measured = dict[str, float | None]


class ExplainOptions(Settings):
    """Options of a grid whose cells are explainers."""

    images: int = Field(8, ge=1)
    """Explained test images."""
    depth: int = Field(6, ge=1, le=10)
    """Halvings: 2^depth regions, of which all but the error to exact values is measured."""
    depths: tuple[int, ...] = Field((3, 4, 5, 6), min_length=2)
    """Halvings at which seconds and evaluations are measured, for their exponents."""
    exact_depth: int = Field(3, ge=1, le=4)
    """Halvings at which the error to exact Shapley values is measured."""
    factor: int = Field(4, ge=1)
    """Budget: evaluations per region."""
    hidden: int = Field(64, ge=1)
    """Random sets of regions that infidelity hides."""


def measured_explainer(unit: Unit, reads: ExecuteReads) -> Measured:
    """All measures of the unit's explainer.

    Raises:
        DataError: when there is no test image.
    """
    warnings.filterwarnings("ignore", module="shap|captum")
    options, name = ExplainOptions.model_validate(unit.options), str(unit.method)
    network = subject(unit, reads)
    cases = list(explained(unit, network, options.images, reads))
    if not cases:
        raise DataError("there is no test image to explain")
    return {
        **scaling(name, cases[0], options),
        "error": error_to_exact(name, cases, options),
        **faithfulness(name, cases, options),
    }


def scaling(name: str, case: Explained, options: ExplainOptions) -> Measured:
    """Seconds and evaluations of one image, and the exponents of their growth with the regions."""
    seconds, evaluations, regions = [], [], []
    for depth in (options.depths[0], *options.depths):
        tree = case.tree(depth)
        run = partial(credits_of, name, case, tree, budget=options.factor * len(tree.leaves))
        with suppress(ValueError), Counter(case.network) as counter:
            run()
            images = counter.images
            seconds.append(fastest(run))
            evaluations.append(images)
            regions.append(len(tree.leaves))
    del seconds[:1], evaluations[:1], regions[:1]  # libraries compile at their first call
    counted = name != INCREMENTAL and all(evaluations)  # parts of images are no evaluations
    return {
        "regions": regions[-1] if regions else None,
        "seconds": seconds[-1] if seconds else None,
        "seconds_exponent": exponent(regions, seconds),
        "evaluations": evaluations[-1] if evaluations and counted else None,
        "evaluations_exponent": exponent(regions, evaluations) if counted else None,
    }


def error_to_exact(name: str, cases: list[Explained], options: ExplainOptions) -> float | None:
    """``|found - exact| / |exact|``, mean over images; None where the explainer cannot."""
    if name in OTHER_SCALE:
        return None
    errors = []
    for case in cases:
        tree = case.tree(options.exact_depth)
        reference = credits_of(EXACT, case, tree, budget=0)
        with suppress(ValueError):
            found = credits_of(name, case, tree, budget=options.factor * len(tree.leaves))
            errors.append(np.linalg.norm(found - reference) / np.linalg.norm(reference))
    return fmean(map(float, errors)) if errors else None


def faithfulness(name: str, cases: list[Explained], options: ExplainOptions) -> Measured:
    """What the credits predict, whether they depend on the network, and where they point.

    Means over images. Where the explainer cannot work with the regions, nothing is there.
    """
    rows: list[Mapping[str, float]] = []
    for case in cases:
        tree = case.tree(options.depth)
        budget = options.factor * len(tree.leaves)
        with suppress(ValueError):
            found = credits_of(name, case, tree, budget=budget)
            other = credits_of(
                name, replace(case, network=randomized(case.network)), tree, budget=budget
            )
            rows.append({**curves(case, found, options), "randomization": alike(found, other)})
    if name in OTHER_SCALE:
        rows = [{one: value for one, value in row.items() if one != "infidelity"} for row in rows]
    names = sorted({name for row in rows for name in row})
    return {one: fmean(row[one] for row in rows if one in row) for one in names}


def curves(case: Explained, values: Values, options: ExplainOptions) -> dict[str, float]:
    """Deletion, insertion, infidelity, sparsity and pointing of one image's credits."""
    tree = case.tree(options.depth)
    game = game_of(case, tree)
    generator = np.random.default_rng(0)
    hidden = generator.random((options.hidden, len(values))) < 0.5
    found = {
        "insertion": area_under(insertion_curve(game, values, 0)),
        "deletion": area_under(deletion_curve(game, values, 0)),
        "infidelity": infidelity(game, values, hidden, 0),
        "sparsity": gini(values),
    }
    if case.cue is not None:
        found["pointing"] = pointing_game(tree.paint(tree.leaves, values), case.cue)
    return found


@lru_cache(maxsize=1)
def randomized(network: torch.nn.Module) -> torch.nn.Module:
    """A copy whose parameters are permuted within each tensor: credits should not stay the same.

    Source: J. Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
    """
    other = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in other.parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))
    return other.eval()


def alike(first: Values, second: Values) -> float:
    """Spearman's rank correlation; 0 where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(stats.spearmanr(first, second).statistic)


def gini(values: Values) -> float:
    """Gini index of the absolute values: 0 where all are equal, near 1 where one has all.

    Source: Chalasani et al., Concise explanations of neural networks using adversarial training,
    ICML 2020.
    """
    ordered = np.sort(np.abs(values))
    total = ordered.sum()
    if total == 0:
        return 0.0
    ranks = np.arange(1, len(ordered) + 1)
    return float(((2 * ranks - len(ordered) - 1) * ordered).sum() / (len(ordered) * total))
