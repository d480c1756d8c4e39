"""Deep-Emotion: an attentional convolutional network for faces.

S. Minaee, M. Minaei, A. Abdolrashidi, *Deep-Emotion: Facial Expression Recognition Using
Attentional Convolutional Network*, Sensors 21(9):3046, 2021.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn

from ier_ray.models.emotion_net import scaled

CHANNELS = 10
"""Output channels of each of the four feature convolutions."""
LOCALIZATION_CHANNELS = (8, 10)
LOCALIZATION_UNITS = 32
HIDDEN_UNITS = 50
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""The affine transform that leaves an image as it is."""


class DeepEmotion(nn.Module):
    """A spatial transformer on the input, four convolutions, two dense layers.

    As published: the features are four 3x3 convolutions of 10 channels without padding, every two
    followed by a max-pool and a ReLU, then dropout and dense layers of 50 and ``num_classes``
    units. The transformer's localization network is two convolutions (7x7 to 8 and 5x5 to 10
    channels), each with max-pool and ReLU, and dense layers of 32 and 6 units; it starts as the
    identity. The publication has gray images of 48x48; here images are RGB of any size, and the
    first dense layers are as large as the convolutions' output.

    Args:
        num_classes: size of the last dense layer.
        image_size: side of the square input in pixels, at least 32.
        width: factor on every channel and hidden-unit count.
        dropout: probability between features and dense layers.

    Input ``(N, 3, image_size, image_size)``, output logits ``(N, num_classes)``.
    """

    def __init__(self, *, num_classes: int, image_size: int, width: float, dropout: float) -> None:
        super().__init__()
        channels, hidden = scaled(CHANNELS, width), scaled(HIDDEN_UNITS, width)
        first, second = (scaled(count, width) for count in LOCALIZATION_CHANNELS)
        units = scaled(LOCALIZATION_UNITS, width)
        regression = nn.Linear(units, len(IDENTITY))
        self.localization = nn.Sequential(
            nn.Conv2d(3, first, 7),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(second * pooled_side(image_size, 6, 4) ** 2, units),
            nn.ReLU(inplace=True),
            regression,
        )
        self.features = nn.Sequential(
            nn.Conv2d(3, channels, 3),
            nn.Conv2d(channels, channels, 3),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3),
            nn.Conv2d(channels, channels, 3),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(channels * pooled_side(image_size, 4, 4) ** 2, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, num_classes),
        )
        nn.init.zeros_(regression.weight)
        with torch.no_grad():
            regression.bias.copy_(torch.tensor(IDENTITY))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalized images."""
        logits: Tensor = self.classifier(self.features(self.attend(images)).flatten(1))
        return logits

    def attend(self, images: Tensor) -> Tensor:
        """Images resampled with the affine transforms that the localization network predicts."""
        transforms = self.localization(images).view(-1, 2, 3)
        shape: Any = images.shape  # as it is: tracing cannot follow a list of it
        grid = F.affine_grid(transforms, shape, align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)


def pooled_side(side: int, *losses: int) -> int:
    """Side of a feature map after stages that each lose ``losses`` pixels, then halve it."""
    for loss in losses:
        side = (side - loss) // 2
    return side
