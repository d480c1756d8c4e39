"""What the joint model asks of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class EmotionClassifier(nn.Module, ABC):
    """A network that gives the logits of an image's emotion."""

    @abstractmethod
    def forward(self, images: Tensor, /) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, S, S)``; caption_bert: of token ids."""

    @abstractmethod
    def dense_weights(self) -> list[Tensor]:
        """Weight matrices of the dense layers (``w_fc`` of Eq. 1); that of the logits is last."""

    @abstractmethod
    def backbone(self) -> dict[str, Tensor]:
        """What pretrained weights fill: the tensors themselves, by their names in a file."""

    @property
    @abstractmethod
    def new_layers(self) -> tuple[str, ...]:
        """Prefixes of names in a file that are not used."""
