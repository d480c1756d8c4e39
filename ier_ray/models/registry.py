"""Architectures by their names in the settings, and the builders of networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from ier_ray.config import Settings
from ier_ray.models import baselines
from ier_ray.models.captions import caption_bert
from ier_ray.models.classifier import EmotionClassifier
from ier_ray.models.emotion_net import EmotionNet
from ier_ray.models.joint import AbsentNetwork, JointModel, NetworkName
from ier_ray.models.weights import load_pretrained

BUILDERS: dict[str, Callable[..., EmotionClassifier]] = {
    "emotion_net": EmotionNet,
    "alexnet": baselines.alexnet,
    "vgg16": baselines.vgg16,
    "resnet": baselines.resnet,
    "caption_bert": caption_bert,
    "deep_emotion": baselines.deep_emotion,
    "efficientnet": baselines.efficientnet,
    "vit": baselines.vit,
    "swin": baselines.swin,
}
"""Every architecture by its name in the settings: a new one is a builder and a line here."""

NETWORKS: tuple[NetworkName, ...] = ("fer", "ier")

if TYPE_CHECKING:
    Architecture: TypeAlias = str
else:  # settings accept the names of the table; type checkers cannot read them from it
    Architecture = Literal[tuple(BUILDERS)]


class ModelSettings(Settings):
    """Architecture and size of the network; stored in the checkpoint."""

    architecture: Architecture = "emotion_net"
    """Name of the network: emotion_net is the paper's (VGG16 with four residual branches); its
    baselines are alexnet, vgg16, resnet (ResNet-50), caption_bert (BERT-base, on the captions that
    jobs/caption.py adds to shard sets), deep_emotion (convolutions behind a spatial transformer),
    efficientnet (B0), vit (ViT-B/16) and swin (Swin-T)."""
    image_size: int = Field(224, ge=32, multiple_of=32)
    """Side of the input in pixels; caption_bert reads no images."""
    width: float = Field(1.0, gt=0, le=4)
    """Factor on channel and unit counts (resnet: its bottlenecks; caption_bert, vit and swin: the
    embedding); 1 is as published."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout after each hidden dense layer; efficientnet and deep_emotion: before the dense
    layers; caption_bert, vit and swin: in every block; resnet has none."""

    @property
    def reads_captions(self) -> bool:
        """Whether the network takes token ids in place of pixels."""
        return self.architecture == "caption_bert"

    @field_validator("image_size")
    @classmethod
    def _something_is_left(cls, size: int, info: ValidationInfo) -> int:
        smallest = baselines.ALEXNET_MIN_SIDE
        if info.data.get("architecture") == "alexnet" and size < smallest:
            raise ValueError(f"alexnet needs at least {smallest}")
        return size

    @field_validator("dropout")
    @classmethod
    def _has_a_place(cls, probability: float, info: ValidationInfo) -> float:
        if info.data.get("architecture") == "resnet" and probability > 0:
            raise ValueError("resnet has no hidden dense layer; leave it at 0")
        return probability


def build_network(settings: ModelSettings, *, num_classes: int) -> EmotionClassifier:
    """One freshly initialized network."""
    return BUILDERS[settings.architecture](
        num_classes=num_classes,
        image_size=settings.image_size,
        width=settings.width,
        dropout=settings.dropout,
    )


def build_joint_model(
    settings: ModelSettings,
    *,
    num_classes: int,
    pretrained: str | None = None,
    networks: Sequence[NetworkName] = NETWORKS,
) -> JointModel:
    """Both networks, or one; ``pretrained`` (see :func:`load_pretrained`) fills their backbones."""
    built = {name: build_network(settings, num_classes=num_classes) for name in networks}
    if pretrained is not None:
        load_pretrained(built.values(), pretrained)
    return JointModel(*(built.get(name) or AbsentNetwork(name) for name in NETWORKS))
