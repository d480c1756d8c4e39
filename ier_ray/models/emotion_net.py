"""The paper's network: VGG16 with four residual branches (section 3.2, Fig. 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ier_ray.models.classifier import DividedClassifier

VGG16_BLOCKS: tuple[tuple[int, int], ...] = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of 3x3 convolutions of B1-B5."""
BRANCH_CHANNELS = 512
HIDDEN_UNITS = 2048
DOWNSAMPLING = 32
"""Ratio of the image's side to that of the last feature map (five 2x2 max-pools)."""


class EmotionNet(DividedClassifier):
    """VGG16 trunk (B1-B5), residual branches (R1-R4) and three dense layers.

    Branch ``R_l`` takes the pooled output of ``B_l``, halves it until it has the size of the
    output of ``B5`` and convolves it to 512 channels (3x3, padding 1: the paper gives no kernel).
    The branches, then ``B5``, are concatenated (2560 channels) and classified by dense layers of
    2048, 2048 and ``num_classes`` units.

    ``features`` has the state-dict keys of torchvision's ``vgg16().features``.

    Args:
        num_classes: size of the last dense layer.
        image_size: side of the square input in pixels, a multiple of 32 (224 in the paper).
        width: factor on every channel and hidden-unit count (1.0 in the paper).
        dropout: probability after each hidden dense layer (0 in the paper).

    Input ``(N, 3, image_size, image_size)``, output logits ``(N, num_classes)``.
    """

    new_layers = ("branches.", "classifier.")
    """Name prefixes of the layers that pretrained weights do not fill."""

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int = 224,
        width: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if image_size < DOWNSAMPLING or image_size % DOWNSAMPLING:
            raise ValueError(
                f"image_size must be a positive multiple of {DOWNSAMPLING}, got {image_size}"
            )
        channels = [scaled(count, width) for count, _ in VGG16_BLOCKS]
        branch = scaled(BRANCH_CHANNELS, width)
        hidden = scaled(HIDDEN_UNITS, width)
        self.features = vgg_trunk(channels, [convs for _, convs in VGG16_BLOCKS])
        self.branches = nn.ModuleList(
            residual_branch(channels[level], branch, pools=4 - level) for level in range(4)
        )
        self._last_channels = channels[-1]
        side = image_size // DOWNSAMPLING
        self.classifier = nn.Sequential(
            nn.Linear((4 * branch + channels[-1]) * side * side, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        self.apply(he_initialize)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalized images."""
        logits: Tensor = self.classifier(self.embed(images).flatten(1))
        return logits

    def embed(self, images: Tensor) -> Tensor:
        """Concatenated feature maps ``(N, 2560·width, image_size/32, image_size/32)``."""
        blocks = self._block_outputs(images)
        branches = [branch(output) for branch, output in zip(self.branches, blocks, strict=False)]
        return torch.cat([*branches, blocks[-1]], dim=1)

    def trunk(self, images: Tensor) -> Tensor:
        """The pooled input of each branch, then ``B5``, flattened: ``1472·width`` maps."""
        blocks = self._block_outputs(images)
        pooled = [
            cast("nn.Sequential", branch)[:-1](output)
            for branch, output in zip(self.branches, blocks, strict=False)
        ]
        return torch.cat([maps.flatten(1) for maps in (*pooled, blocks[-1])], dim=1)

    def head(self, features: Tensor) -> Tensor:
        """Logits of the trunk's features: the branches' convolutions and the dense layers."""
        convolutions = [cast("nn.Conv2d", cast("nn.Sequential", b)[-1]) for b in self.branches]
        channels = [*(layer.in_channels for layer in convolutions), self._last_channels]
        area = features.shape[1] // sum(channels)
        side = math.isqrt(area)
        parts = torch.split(features, [count * area for count in channels], dim=1)
        maps = [part.reshape(len(features), -1, side, side) for part in parts]
        branches = [layer(part) for layer, part in zip(convolutions, maps, strict=False)]
        logits: Tensor = self.classifier(torch.cat([*branches, maps[-1]], dim=1).flatten(1))
        return logits

    def _block_outputs(self, images: Tensor) -> list[Tensor]:
        """The pooled outputs of B1-B5."""
        outputs = []
        hidden = images
        for layer in self.features:
            hidden = layer(hidden)
            if isinstance(layer, nn.MaxPool2d):
                outputs.append(hidden)
        return outputs

    def dense_weights(self) -> list[Tensor]:
        """Weight matrices of the dense layers: ``w_fc`` of Eq. 1."""
        return [layer.weight for layer in self.classifier if isinstance(layer, nn.Linear)]

    def backbone(self) -> dict[str, Tensor]:
        """The trunk's tensors, which pretrained weights fill, by their names in VGG16."""
        trunk = self.features.state_dict(prefix="features.")
        return dict(trunk)

    def pretrained_chain(self) -> list[nn.Module]:
        """The convolutions of the trunk; branches take their inputs from between them."""
        return [layer for layer in self.features if isinstance(layer, nn.Conv2d)]


def vgg_trunk(channels: Sequence[int], convolutions: Sequence[int]) -> nn.Sequential:
    """Blocks of 3x3 convolutions with ReLU, each closed by a 2x2 max-pool."""
    layers: list[nn.Module] = []
    previous = 3
    for count, repeats in zip(channels, convolutions, strict=True):
        for _ in range(repeats):
            layers += [nn.Conv2d(previous, count, 3, padding=1), nn.ReLU(inplace=True)]
            previous = count
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def residual_branch(in_channels: int, out_channels: int, *, pools: int) -> nn.Sequential:
    """``pools`` 2x2 max-pools, then one 3x3 convolution."""
    return nn.Sequential(
        *(nn.MaxPool2d(2) for _ in range(pools)),
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
    )


def scaled(count: int, width: float) -> int:
    """A channel or unit count times the width factor, rounded, at least 1."""
    return max(1, round(count * width))


def he_initialize(module: nn.Module) -> None:
    """He initialization: 13 ReLU convolutions without normalization layers need it to train."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
