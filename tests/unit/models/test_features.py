"""Features of a layer equal calling the network's parts by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ier_ray.errors import SettingsError
from ier_ray.models import ModelSettings, build_network
from ier_ray.models.classifier import EmotionClassifier
from ier_ray.models.features import layer_features
from ier_ray.models.registry import BUILDERS


def tiny(architecture: str, size: int = 64, width: float = 0.1) -> Any:
    torch.manual_seed(0)
    settings = ModelSettings(architecture=architecture, image_size=size, width=width)
    return build_network(settings, num_classes=4).eval()


def images(size: int = 64) -> Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_convolution_before_a_relu_in_place() -> None:
    network = tiny("emotion_net")
    maps = network.features[:29](images())  # features.28 is a convolution, features.29 its ReLU
    assert (maps < 0).any()
    found = layer_features(network, images(), layer="features.28")
    torch.testing.assert_close(found, maps.mean((2, 3)))
    found = layer_features(network, images(), layer="features.28", pool="flatten")
    torch.testing.assert_close(found, maps.reshape(3, -1))


@torch.no_grad()
def test_the_default_is_the_input_of_the_last_dense_layer() -> None:
    network = tiny("emotion_net")
    hidden = network.classifier[:-1](network.embed(images()).flatten(1))
    torch.testing.assert_close(layer_features(network, images()), hidden)
    logits = layer_features(network, images(), layer="classifier.6")
    torch.testing.assert_close(logits, network.classifier[-1](hidden))


@torch.no_grad()
def test_tokens_of_a_transformer_are_averaged() -> None:
    network = tiny("vit")
    tokens = network.network._process_input(images())
    first = network.network.class_token.expand(3, -1, -1)
    encoded = network.network.encoder(torch.cat([first, tokens], 1))
    torch.testing.assert_close(
        layer_features(network, images(), layer="network.encoder"), encoded.mean(1)
    )
    torch.testing.assert_close(layer_features(network, images()), encoded[:, 0])


@torch.no_grad()
def test_swin_has_its_channels_last() -> None:
    network = tiny("swin")
    maps = network.network.features[:2](images())
    assert maps.shape == (3, 16, 16, 9)
    found = layer_features(network, images(), layer="network.features.1")
    torch.testing.assert_close(found, maps.mean((1, 2)))
    found = layer_features(network, images(), layer="network.permute")  # channels first
    torch.testing.assert_close(found, layer_features(network, images(), layer="network.norm"))


@pytest.mark.parametrize("architecture", BUILDERS)
def test_each_architecture_has_features_and_keeps_its_logits(architecture: str) -> None:
    if architecture == "caption_bert":
        pytest.importorskip("transformers")
        inputs = torch.ones(3, 8, dtype=torch.int64)
    else:
        inputs = images()
    network: EmotionClassifier = tiny(architecture)
    with torch.no_grad():
        before = network(inputs)
        found = layer_features(network, inputs)
        torch.testing.assert_close(network(inputs), before)
    assert found.shape == (3, network.dense_weights()[-1].shape[1])
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )
    if architecture == "caption_bert":
        return  # reads values of its mask
    with torch.device("meta"):  # shapes without values
        described = layer_features(tiny(architecture), inputs.to("meta"))
    assert described.shape == found.shape


class Odd(nn.Module):
    """Layers that have no features."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.ReLU()
        self.unused = nn.ReLU()
        self.pair = nn.LSTM(12, 2, batch_first=True)
        self.norm = nn.LayerNorm(3)
        self.whole = nn.Flatten(0)

    def forward(self, inputs: Tensor) -> Tensor:
        """Of images ``(N, 3, 3, 3)``."""
        hidden = self.norm(self.twice(self.twice(inputs)))
        self.pair(hidden.flatten(1)[:, None, :12])
        return self.whole(hidden)


def test_layers_without_features_are_refused() -> None:
    network: Any = Odd()
    inputs = torch.ones(2, 3, 3, 3)
    for layer, message in (
        ("twice", r"layer 'twice' runs 2 times in a forward pass"),
        ("unused", r"layer 'unused' runs 0 times"),
        ("pair", r"layer 'pair' gives tuple, not one tensor for each of 2 images"),
        ("whole", r"layer 'whole' gives \(54,\), not one tensor"),
    ):
        with pytest.raises(SettingsError, match=message):
            layer_features(network, inputs, layer=layer, pool="flatten")
    with pytest.raises(SettingsError, match="maps of 3 channels and as many rows, which cannot"):
        layer_features(network, inputs, layer="norm")
    assert layer_features(network, inputs, layer="norm", pool="flatten").shape == (2, 27)


def test_unknown_layers_are_refused_with_near_names() -> None:
    with pytest.raises(SettingsError, match=r"'feature\.28' is not .*did you mean features\.28"):
        layer_features(tiny("emotion_net"), images(), layer="feature.28")
    with pytest.raises(SettingsError, match=r"did you mean network\.features\.28"):
        layer_features(tiny("vgg16"), images(), layer="features.28")
    with pytest.raises(SettingsError, match=r"begin with features, branches, classifier"):
        layer_features(tiny("emotion_net"), images(), layer="?")
