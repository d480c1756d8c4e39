"""An architecture is a name in the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field
from torch import nn

from ier_ray.config import Settings
from ier_ray.models.emotion_net import EmotionNet
from ier_ray.models.joint import JointModel
from ier_ray.models.weights import load_trunk

Architecture = Literal["emotion_net"]


class ModelSettings(Settings):
    """Which network, and how large. Travels with the checkpoint."""

    architecture: Architecture = "emotion_net"
    """Name of the network: emotion_net is the paper's (VGG16 with four residual branches)."""
    image_size: int = Field(224, ge=32, multiple_of=32)
    """Side of the input in pixels."""
    width: float = Field(1.0, gt=0, le=4)
    """Factor on all channel and unit counts; 1 is the paper's."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout after each hidden dense layer."""


BUILDERS: dict[str, Callable[[ModelSettings, int], nn.Module]] = {
    "emotion_net": lambda settings, num_classes: EmotionNet(
        num_classes=num_classes,
        image_size=settings.image_size,
        width=settings.width,
        dropout=settings.dropout,
    ),
}


def build_network(settings: ModelSettings, *, num_classes: int) -> nn.Module:
    """One freshly initialised network."""
    return BUILDERS[settings.architecture](settings, num_classes)


def build_joint_model(
    settings: ModelSettings, *, num_classes: int, pretrained: str | None = None
) -> JointModel:
    """Both networks; ``pretrained`` (see :func:`load_trunk`) fills the trunks of both."""
    networks = [build_network(settings, num_classes=num_classes) for _ in range(2)]
    if pretrained is not None:
        for network in networks:
            load_trunk(network, pretrained)
    return JointModel(*networks)
