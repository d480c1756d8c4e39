"""Two networks of one architecture, trained together (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ier_ray.errors import CheckpointError
from ier_ray.losses import Compared, JointOutputs, reverse_gradient
from ier_ray.models.classifier import DividedClassifier, EmotionClassifier

DISCRIMINATOR_UNITS = 256
Forward = Callable[[Tensor], Tensor]
NetworkName = Literal["fer", "ier"]


class AbsentNetwork(DividedClassifier):
    """In the place of a network that a run does not have: no parameters, no images."""

    new_layers = ()

    def __init__(self, name: NetworkName) -> None:
        super().__init__()
        self.name = name

    def forward(self, images: Tensor) -> Tensor:
        """No logits of no images.

        Raises:
            CheckpointError: when there are images.
        """
        if len(images):
            raise CheckpointError(
                f"there is no {self.name} network: the model was trained with schedule.networks "
                f"{'ier' if self.name == 'fer' else 'fer'}"
            )
        return images.new_zeros((0, 0), dtype=torch.float32)

    def trunk(self, images: Tensor) -> Tensor:
        """As :meth:`forward`."""
        return self.forward(images)

    def head(self, features: Tensor) -> Tensor:
        """As :meth:`forward`."""
        return self.forward(features)

    def dense_weights(self) -> list[Tensor]:
        """None."""
        return []

    def backbone(self) -> dict[str, Tensor]:
        """Empty."""
        return {}


class JointModel(nn.Module):
    """``fer`` and ``ier`` under one forward pass, so that one DDP wrap serves both.

    One of them may be an :class:`AbsentNetwork`.

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
        fer_is_fixed: bool = False,
        from_features: bool = False,
    ) -> JointOutputs:
        """Logits of each network on its domain, and the other outputs that the loss asks for.

        With ``fer_is_fixed`` the compared pair has no gradient in ``fer``. With ``from_features``
        the inputs are the features of both networks' equal trunks, in place of images.
        """
        crossed = compared in ("cross", "contested", "cross_features")
        fer_seen = torch.cat([fer_images, ier_images]) if crossed else fer_images
        ier_seen = torch.cat([ier_images, fer_images]) if ier_on_fer else ier_images
        fer, ier = self._heads() if from_features else (self.fer, self.ier)
        if compared in ("logits", "cross"):
            fer_logits, ier_logits = fer(fer_seen), ier(ier_seen)
            fer_pair, ier_pair = fer_logits, ier_logits
        else:
            fer_logits, fer_pair = with_features(self.fer, fer, fer_seen)
            ier_logits, ier_pair = with_features(self.ier, ier, ier_seen)
        own, on_fer = ier_logits[: len(ier_images)], ier_logits[len(ier_images) :]
        fer_pair = fer_pair[len(fer_images) :] if crossed else fer_pair
        fer_pair = fer_pair.detach() if fer_is_fixed else fer_pair
        pair = self._compare(compared, fer_pair, ier_pair[: len(ier_images)])
        if fer_is_fixed and compared == "contested":  # nor may its last layer change
            pair = pair[0].detach(), pair[1]
        return JointOutputs(
            fer=fer_logits[: len(fer_images)],
            ier=own,
            compared=pair,
            ier_on_fer=on_fer if ier_on_fer else None,
        )

    def _heads(self) -> tuple[Forward, Forward]:
        fer, ier = cast("DividedClassifier", self.fer), cast("DividedClassifier", self.ier)
        return fer.head, ier.head

    def _compare(self, compared: Compared, fer: Tensor, ier: Tensor) -> tuple[Tensor, Tensor]:
        if compared == "contested":
            fer_head, ier_head = last_dense(self.fer), last_dense(self.ier)
            return fer_head(reverse_gradient(fer)), ier_head(reverse_gradient(ier))
        if compared == "domains":
            discriminator = self.discriminator
            return discriminator(reverse_gradient(fer)), discriminator(reverse_gradient(ier))
        return fer, ier

    @property
    def networks(self) -> dict[NetworkName, EmotionClassifier]:
        """The networks that the model has."""
        both: dict[NetworkName, EmotionClassifier] = {"fer": self.fer, "ier": self.ier}
        return {name: net for name, net in both.items() if not isinstance(net, AbsentNetwork)}

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


def with_features(
    network: EmotionClassifier, forward: Forward, inputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits ``(N, classes)`` and features ``(N, d)``: the input of the last dense layer.

    ``forward`` computes the network's logits of the inputs.
    """
    seen: list[Tensor] = []
    hook = last_dense(network).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        logits = forward(inputs)
    finally:
        hook.remove()
    return logits, seen[0]
