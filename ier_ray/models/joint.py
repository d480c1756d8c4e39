"""Two networks of one architecture, trained together (paper section 3.3)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from ier_ray.losses import JointLogits


class EmotionClassifier(Protocol):
    """What the joint module asks of a network besides being an ``nn.Module``."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, S, S)``."""

    def dense_weights(self) -> list[Tensor]:
        """Weight matrices of the dense layers."""

    def backbone(self) -> dict[str, Tensor]:
        """What pretrained weights fill: the tensors themselves, by their names in a file."""

    @property
    def new_layers(self) -> tuple[str, ...]:
        """Prefixes of names in a file that are not used."""


class JointModel(nn.Module):
    """``fer`` and ``ier`` under one forward pass, so that one DDP wrap serves both."""

    def __init__(self, fer: nn.Module, ier: nn.Module) -> None:
        super().__init__()
        self.fer = fer
        self.ier = ier

    def forward(self, fer_images: Tensor, ier_images: Tensor, *, cross: bool) -> JointLogits:
        """Logits of each network on its domain; with ``cross``, of ``fer`` on both."""
        ier_logits = self.ier(ier_images)
        if not cross:
            return JointLogits(self.fer(fer_images), ier_logits, None)
        both = self.fer(torch.cat([fer_images, ier_images]))
        own, foreign = both.split([len(fer_images), len(ier_images)])
        return JointLogits(own, ier_logits, foreign)

    def dense_weights(self) -> list[Tensor]:
        """Weight matrices of both networks' dense layers (``w_fc`` of Eq. 1)."""
        return [*self.fer.dense_weights(), *self.ier.dense_weights()]  # type: ignore[operator]
