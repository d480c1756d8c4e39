"""The interface that the joint model requires of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class EmotionClassifier(nn.Module, ABC):
    """A network that computes the logits of an image's emotion."""

    @abstractmethod
    def forward(self, images: Tensor, /) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, S, S)``; caption_bert: of token ids."""

    @abstractmethod
    def dense_weights(self) -> list[Tensor]:
        """Weight matrices of the dense layers (``w_fc`` of Eq. 1), the output layer's last."""

    @abstractmethod
    def backbone(self) -> dict[str, Tensor]:
        """The tensors (no copies) that pretrained weights fill, by their names in a weight file."""

    @property
    @abstractmethod
    def new_layers(self) -> tuple[str, ...]:
        """Name prefixes of the layers that pretrained weights do not fill."""

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """The parameters among the tensors of :meth:`backbone`."""
        filled = {_memory(tensor) for tensor in self.backbone().values()}
        return [parameter for parameter in self.parameters() if _memory(parameter) in filled]

    def pretrained_chain(self) -> list[nn.Module]:
        """The layers that pretrained weights fill, in forward order, if they are a chain.

        In a chain only ReLU, pools and dropout stand between layers, so that a factor on the
        output of one is a factor on all that follows. Empty where they are none.
        """
        return []


class DividedClassifier(EmotionClassifier):
    """A network that is a trunk and a head: ``forward(images)`` equals ``head(trunk(images))``.

    The trunk has no parameter of the new layers, drops nothing, and computes each image by itself
    when it is in eval mode, so that a frozen one need not compute an image twice.
    """

    @abstractmethod
    def trunk(self, images: Tensor) -> Tensor:
        """Features ``(N, d)`` of normalized images."""

    @abstractmethod
    def head(self, features: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of features."""


def _memory(tensor: Tensor) -> int:
    """What tells tensors apart that do not share memory; meta tensors have no address."""
    return int(tensor.untyped_storage()._cdata)
