"""What a map is measured by, and maps that know nothing of the network for comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ier_ray.data.preprocessing import Preprocessing
from ier_ray.explain import DenseEvaluator, ExactInference, Explanation, RegionTree
from ier_ray.explain.baselines import Baseline, before_normalization
from ier_ray.explain.evaluators import SCORES, Evaluator, NetworkEvaluator, ScoreFunction, logit
from ier_ray.explain.forest import region_sums
from ier_ray.explain.masking import MaskedImages
from ier_ray.explain.metrics import pointing_game, positive_mass_inside
from ier_ray.explain.refinement import region_game
from ier_ray.explain.road import curves
from ier_ray.explain.shapley import Scores, every_coalition
from ier_ray.explain.shapley.exact import shapley_of_all
from ier_ray.explainer_settings import ExplainerSettings

Density = NDArray[np.float64]
BATCH = 128
BLOCKS = 6
"""Depth of the tree whose regions random maps are constant in."""
RANDOM_MAPS = 4
"""Random maps of each picture, whose mean is reported."""


@dataclass(frozen=True)
class Picture:
    """A picture at the network's size, ``(S, S, 3)``, and where its evidence is, if known."""

    name: str
    pixels: NDArray[np.uint8]
    cue_mask: NDArray[np.bool_] | None


@dataclass
class Remembering:
    """An evaluator that scores no masked image twice, whatever the score."""

    logits: NetworkEvaluator
    score: ScoreFunction = logit
    known: dict[bytes, Scores] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        return self.logits.shape

    @property
    def inference(self) -> str:
        return self.logits.inference

    def __call__(self, masking: MaskedImages) -> Scores:
        keys = masking.keys()
        new = np.array([row for row, key in enumerate(keys) if key not in self.known], dtype=int)
        if len(new):
            found = self.logits(masking[new])
            self.known.update(zip((keys[row] for row in new), found, strict=True))
        logits = np.stack([self.known[key] for key in keys])
        return self.score(torch.from_numpy(logits)).numpy()

    def of(self, score: ScoreFunction) -> Evaluator:
        """The same with another score."""
        return Remembering(self.logits, score, self.known)


@dataclass
class Measured:
    """One picture: its explanations, and what they are measured by."""

    network: nn.Module
    prepared: ExactInference
    preprocessing: Preprocessing
    picture: Picture
    exact_depth: int | None
    """Depth of the grid whose exact Shapley values are computed; None: they are not."""
    _evaluators: dict[Baseline, Remembering] = field(default_factory=dict)
    _grids: dict[Baseline, Scores] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.image, _ = self._prepare("black")
        self.target = int(self.probabilities(self.image[None])[0].argmax())

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> NDArray[np.float64]:
        """``(M, K)``."""
        found: NDArray[np.float64] = self.network(images).double().softmax(1).numpy()
        return found

    def explanation(self, settings: ExplainerSettings) -> Explanation:
        """By these settings, of the predicted class."""
        if settings.baseline not in self._evaluators:
            image, baseline = self._prepare(settings.baseline)
            logits = self.prepared.evaluator(image, baseline, score=logit)
            self._evaluators[settings.baseline] = Remembering(logits)
        evaluator = self._evaluators[settings.baseline].of(SCORES[settings.score])
        return settings.explainer(self.target).explain(evaluator)

    def of_settings(self, settings: ExplainerSettings) -> dict[str, float]:
        """What the explanation by these settings is measured by."""
        explanation = self.explanation(settings)
        density = explanation.density_map(self.target)
        found = {"evaluations": float(explanation.evaluations)} | self.of_map(density)
        if self.exact_depth is not None:
            found["shapley error"] = self.shapley_error(density, settings)
        return found

    def of_map(self, density: Density) -> dict[str, float]:
        """What a map is measured by, wherever it is from."""
        road = curves(
            lambda images: self.probabilities(images)[:, self.target],
            self.image,
            density,
            generator=torch.Generator().manual_seed(0),
        )
        found = {
            "deletion": float(road.deletion.mean()),
            "insertion": float(road.insertion.mean()),
            "gap": road.gap,
        }
        if self.picture.cue_mask is not None:
            found["cue mass"] = positive_mass_inside(density, self.picture.cue_mask)
            found["pointing"] = pointing_game(density, self.picture.cue_mask)
        return found

    def shapley_error(self, density: Density, settings: ExplainerSettings) -> float:
        """|found − exact| / |exact|: credits of a grid's cells against their Shapley values."""
        grid = RegionTree.halving(*self.image.shape[-2:], depth=self.exact_depth or 0)
        if settings.baseline not in self._grids:
            image, baseline = self._prepare(settings.baseline)
            play = region_game(
                DenseEvaluator(self.network, image, baseline, logit, batch_size=BATCH), grid
            )
            self._grids[settings.baseline] = play(every_coalition(len(grid.leaves)))
        scores = SCORES[settings.score](torch.from_numpy(self._grids[settings.baseline])).numpy()
        exact = shapley_of_all(scores[:, [self.target]])[:, 0]
        found = region_sums(density[..., None], grid.rectangles[grid.leaves])[:, 0]
        return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

    def floors(self, seed: int) -> dict[str, dict[str, float]]:
        """Maps that know nothing of the network: random blocks, and the middle of the picture."""
        height, width = self.image.shape[-2:]
        blocks = RegionTree.halving(height, width, depth=BLOCKS)
        values = np.random.default_rng(seed).normal(size=(RANDOM_MAPS, len(blocks.leaves)))
        random = [self.of_map(blocks.paint(blocks.leaves, row)) for row in values]
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
        return {
            "random": {name: fmean(row[name] for row in random) for name in random[0]},
            "middle": self.of_map(np.exp(-2 * (y**2 + x**2))),
        }

    def _prepare(self, baseline: Baseline) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(self.picture.pixels.copy())
        return self.preprocessing.image_and_baseline(pixels, before_normalization(baseline))


def measured_all(
    measured: Measured, tried: dict[str, ExplainerSettings], *, seed: int
) -> dict[str, dict[str, float]]:
    """By name of the settings or of the floor, and by measure."""
    return measured.floors(seed) | {
        name: measured.of_settings(settings) for name, settings in tried.items()
    }
