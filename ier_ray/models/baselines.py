"""The networks that the paper compares with, behind one interface.

``width`` scales each where its construction allows: all channels and units of AlexNet, VGG16,
Deep-Emotion and EfficientNet, the bottlenecks of ResNet, the embedding of ViT and Swin. At width 1
each has the parameters of torchvision's network (except Deep-Emotion, which torchvision lacks),
apart from the number of classes. torchvision takes more than a second to import, so it is imported
only when one of its networks is built.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Tensor, nn

from ier_ray.models.classifier import DividedClassifier, EmotionClassifier
from ier_ray.models.deep_emotion import DeepEmotion
from ier_ray.models.emotion_net import VGG16_BLOCKS, he_initialize, scaled, vgg_trunk

ALEXNET_MIN_SIDE = 64
"""Smallest image side, in pixels, that AlexNet's convolutions and pools can reduce."""
ALEXNET_CHANNELS = (64, 192, 384, 256, 256)
HIDDEN_UNITS = 4096
"""Units of each hidden dense layer of AlexNet and VGG16."""

EFFICIENTNET_B0: tuple[tuple[int, int, int, int, int, int], ...] = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
"""Expansion, kernel, stride, input channels, output channels and layers of each stage."""

VIT_HEADS, VIT_HEAD_CHANNELS, VIT_LAYERS, VIT_PATCH = 12, 64, 12, 16
SWIN_HEADS = (3, 6, 12, 24)
SWIN_HEAD_CHANNELS = 32
STOCHASTIC_DEPTH = 0.2
"""Drop probability of the last residual branch, as published for EfficientNet-B0 and Swin-T."""


class BaselineNetwork(EmotionClassifier):
    """A network whose last part, named ``head``, holds the dense layers.

    Input ``(N, 3, image_size, image_size)``, output logits ``(N, num_classes)``.
    """

    def __init__(self, network: nn.Module, *, head: str) -> None:
        super().__init__()
        self.network = network
        self._dense = [
            name
            for name, layer in network.named_modules()
            if isinstance(layer, nn.Linear) and name.split(".")[0] == head
        ]  # names, not layers: a copy of this module must find its own layers

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalized images."""
        logits: Tensor = self.network(images)
        return logits

    def dense_weights(self) -> list[Tensor]:
        """Weight matrices of the dense layers: ``w_fc`` of Eq. 1."""
        return [self.network.get_parameter(f"{name}.weight") for name in self._dense]

    def backbone(self) -> dict[str, Tensor]:
        """All tensors but those of the output layer: the ones that pretrained weights fill."""
        return {
            name: tensor
            for name, tensor in self.network.state_dict().items()
            if not name.startswith(self.new_layers)
        }

    @property
    def new_layers(self) -> tuple[str, ...]:
        """Prefix of the output layer, which pretrained weights do not fill."""
        return (f"{self._dense[-1]}.",)


class ConvolutionalNetwork(BaselineNetwork, DividedClassifier):
    """Convolutions, pooled to a fixed size, then dense layers, with ReLU between all of them."""

    def pretrained_chain(self) -> list[nn.Module]:
        """All layers but the last."""
        layers: list[nn.Module] = [
            m for m in self.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)
        ]
        return layers[:-1]

    def trunk(self, images: Tensor) -> Tensor:
        """The last maps, flattened."""
        maps: Tensor = self.network.get_submodule("features")(images)
        return maps.flatten(1)

    def head(self, features: Tensor) -> Tensor:
        """Logits of the last maps, pooled to their fixed size."""
        convolutions = [m for m in self.network.modules() if isinstance(m, nn.Conv2d)]
        channels = convolutions[-1].out_channels
        side = math.isqrt(features.shape[1] // channels)
        hidden = features.reshape(len(features), channels, side, side)
        for name in ("avgpool", "flatten"):
            hidden = self.network.get_submodule(name)(hidden)
        logits: Tensor = self.network.get_submodule("classifier")(hidden)
        return logits


class ResidualNetwork(BaselineNetwork, DividedClassifier):
    """ResNet, of which only the output layer ``fc`` is new."""

    def trunk(self, images: Tensor) -> Tensor:
        """The last maps, averaged."""
        hidden = images
        for name, layer in self.network.named_children():  # in forward order
            if name != "fc":
                hidden = layer(hidden)
        return hidden.flatten(1)

    def head(self, features: Tensor) -> Tensor:
        """Logits of the averaged maps."""
        logits: Tensor = self.network.get_submodule("fc")(features)
        return logits


def alexnet(*, num_classes: int, image_size: int, width: float, dropout: float) -> BaselineNetwork:
    """Single-column AlexNet, for images of side ``ALEXNET_MIN_SIDE`` or more; He initialization."""
    del image_size  # pooled to 6x6 at any size
    first, second, third, fourth, fifth = (scaled(count, width) for count in ALEXNET_CHANNELS)
    hidden = scaled(HIDDEN_UNITS, width)
    features = nn.Sequential(
        nn.Conv2d(3, first, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(first, second, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(second, third, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(third, fourth, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(fourth, fifth, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
    )
    classifier = nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(fifth * 6 * 6, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, num_classes),
    )
    return convolutional_network(features, classifier, side=6)


def vgg16(*, num_classes: int, image_size: int, width: float, dropout: float) -> BaselineNetwork:
    """VGG16 without batch normalization; He initialization."""
    del image_size  # pooled to 7x7 at any size
    channels = [scaled(count, width) for count, _ in VGG16_BLOCKS]
    hidden = scaled(HIDDEN_UNITS, width)
    classifier = nn.Sequential(
        nn.Linear(channels[-1] * 7 * 7, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, num_classes),
    )
    return convolutional_network(
        vgg_trunk(channels, [convs for _, convs in VGG16_BLOCKS]), classifier, side=7
    )


def convolutional_network(
    features: nn.Module, classifier: nn.Module, *, side: int
) -> ConvolutionalNetwork:
    """Convolutions, pooled to ``side`` x ``side``, then dense layers."""
    layers = OrderedDict(
        features=features,
        avgpool=nn.AdaptiveAvgPool2d(side),
        flatten=nn.Flatten(),
        classifier=classifier,
    )
    return ConvolutionalNetwork(nn.Sequential(layers).apply(he_initialize), head="classifier")


def deep_emotion(
    *, num_classes: int, image_size: int, width: float, dropout: float
) -> BaselineNetwork:
    """Deep-Emotion; see :class:`DeepEmotion`."""
    network = DeepEmotion(
        num_classes=num_classes, image_size=image_size, width=width, dropout=dropout
    )
    return BaselineNetwork(network, head="classifier")


def resnet(*, num_classes: int, image_size: int, width: float, dropout: float) -> ResidualNetwork:
    """ResNet-50; ``width`` scales the 3x3 convolutions of its bottlenecks."""
    from torchvision.models import resnet50  # noqa: PLC0415

    del image_size, dropout  # pooled to 1x1; there are no hidden dense layers
    network = resnet50(num_classes=num_classes, width_per_group=scaled(64, width))
    return ResidualNetwork(network, head="fc")


def efficientnet(
    *, num_classes: int, image_size: int, width: float, dropout: float
) -> BaselineNetwork:
    """EfficientNet-B0; channels are multiples of 8 at any ``width``."""
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig  # noqa: PLC0415

    del image_size  # pooled to 1x1 at any size
    network = EfficientNet(
        [MBConvConfig(*stage, width_mult=width) for stage in EFFICIENTNET_B0],
        dropout=dropout,
        stochastic_depth_prob=STOCHASTIC_DEPTH,
        num_classes=num_classes,
    )
    return BaselineNetwork(network, head="classifier")


def vit(*, num_classes: int, image_size: int, width: float, dropout: float) -> BaselineNetwork:
    """ViT-B/16; ``width`` scales the channels of each of its 12 heads."""
    from torchvision.models import VisionTransformer  # noqa: PLC0415

    hidden = VIT_HEADS * scaled(VIT_HEAD_CHANNELS, width)
    network = VisionTransformer(
        image_size=image_size,
        patch_size=VIT_PATCH,
        num_layers=VIT_LAYERS,
        num_heads=VIT_HEADS,
        hidden_dim=hidden,
        mlp_dim=4 * hidden,
        dropout=dropout,
        num_classes=num_classes,
    )
    return BaselineNetwork(network, head="heads")


def swin(*, num_classes: int, image_size: int, width: float, dropout: float) -> BaselineNetwork:
    """Swin-T; ``width`` scales the channels of each head."""
    from torchvision.models import SwinTransformer  # noqa: PLC0415

    del image_size  # windows are padded and the last map is averaged at any size
    network = SwinTransformer(
        patch_size=[4, 4],
        embed_dim=SWIN_HEADS[0] * scaled(SWIN_HEAD_CHANNELS, width),
        depths=[2, 2, 6, 2],
        num_heads=list(SWIN_HEADS),
        window_size=[7, 7],
        dropout=dropout,
        stochastic_depth_prob=STOCHASTIC_DEPTH,
        num_classes=num_classes,
    )
    return BaselineNetwork(network, head="head")
