"""Two networks of one architecture, trained together (paper section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ier_ray.losses import Compared, JointOutputs, reverse_gradient
from ier_ray.models.classifier import EmotionClassifier

DISCRIMINATOR_UNITS = 256


class JointModel(nn.Module):
    """``fer`` and ``ier`` under one forward pass, so that one DDP wrap serves both.

    ``discriminator`` is None unless :meth:`add_discriminator` was called; checkpoints keep it with
    the optimizer's state, apart from the networks.
    """

    def __init__(self, fer: EmotionClassifier, ier: EmotionClassifier) -> None:
        super().__init__()
        self.fer = fer
        self.ier = ier
        self.register_module("discriminator", None)

    def forward(
        self,
        fer_images: Tensor,
        ier_images: Tensor,
        *,
        compared: Compared = "logits",
        ier_on_fer: bool = False,
    ) -> JointOutputs:
        """Logits of each network on its domain, and the other outputs that the loss asks for."""
        crossed = compared in ("cross", "contested", "cross_features")
        fer_seen = torch.cat([fer_images, ier_images]) if crossed else fer_images
        ier_seen = torch.cat([ier_images, fer_images]) if ier_on_fer else ier_images
        if compared in ("logits", "cross"):
            fer_logits, ier_logits = self.fer(fer_seen), self.ier(ier_seen)
            fer_pair, ier_pair = fer_logits, ier_logits
        else:
            fer_logits, fer_pair = with_features(self.fer, fer_seen)
            ier_logits, ier_pair = with_features(self.ier, ier_seen)
        own, on_fer = ier_logits[: len(ier_images)], ier_logits[len(ier_images) :]
        fer_pair = fer_pair[len(fer_images) :] if crossed else fer_pair
        return JointOutputs(
            fer=fer_logits[: len(fer_images)],
            ier=own,
            compared=self._compare(compared, fer_pair, ier_pair[: len(ier_images)]),
            ier_on_fer=on_fer if ier_on_fer else None,
        )

    def _compare(self, compared: Compared, fer: Tensor, ier: Tensor) -> tuple[Tensor, Tensor]:
        if compared == "contested":
            fer_head, ier_head = last_dense(self.fer), last_dense(self.ier)
            return fer_head(reverse_gradient(fer)), ier_head(reverse_gradient(ier))
        if compared == "domains":
            discriminator = self.discriminator
            return discriminator(reverse_gradient(fer)), discriminator(reverse_gradient(ier))
        return fer, ier

    def add_discriminator(self) -> None:
        """Add a domain discriminator: two dense layers on the networks' features."""
        self.discriminator = nn.Sequential(
            nn.Linear(last_dense(self.fer).in_features, DISCRIMINATOR_UNITS),
            nn.ReLU(),
            nn.Linear(DISCRIMINATOR_UNITS, 1),
        )

    def dense_weights(self) -> list[Tensor]:
        """Weight matrices of both networks' dense layers (``w_fc`` of Eq. 1)."""
        return [*self.fer.dense_weights(), *self.ier.dense_weights()]


def last_dense(network: EmotionClassifier) -> nn.Linear:
    """The dense layer that computes a network's logits; its input is the network's features."""
    weight = network.dense_weights()[-1]
    return next(m for m in network.modules() if isinstance(m, nn.Linear) and m.weight is weight)


def with_features(network: EmotionClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits ``(N, classes)`` and features ``(N, d)``: the input of the last dense layer."""
    seen: list[Tensor] = []
    hook = last_dense(network).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        logits = network(images)
    finally:
        hook.remove()
    return logits, seen[0]
