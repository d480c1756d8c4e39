"""Games on pixels, whose credits are known or can be counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ier_ray.explain.masking import MaskedImages
from ier_ray.explain.shapley import Scores

Game = Callable[[np.ndarray], np.ndarray]
"""Scores ``(M, K)`` of pixels ``(M, height * width)`` that are 1 where they show."""


@dataclass
class PixelGame:
    """An evaluator of a game whose players are pixels; keeps what it was asked to score."""

    game: Game
    shape: tuple[int, int]
    seen: list[bytes] = field(default_factory=list)
    inference: str = "game"

    def __call__(self, masking: MaskedImages) -> Scores:
        shown = masking.pixels(*self.shape).reshape(len(masking), -1)
        self.seen.extend(row.tobytes() for row in shown)
        return self.game(shown.astype(float))


def nonlinear(pixels: int, seed: int) -> Game:
    weights = np.random.default_rng(seed).normal(size=(pixels, 2)) / np.sqrt(pixels)
    return lambda shown: np.tanh(shown @ weights + 0.2) * (1 + shown.mean(1, keepdims=True))
