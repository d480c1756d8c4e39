"""Outputs of layers: against running the network up to there by hand."""

from __future__ import annotations

import pytest
import torch

from ier_ray.errors import SettingsError
from ier_ray.models.classifier import EmotionClassifier
from ier_ray.models.emotion_net import EmotionNet
from ier_ray.models.layers import DEFAULT_LAYERS, default_layers, layer_outputs
from ier_ray.models.registry import BUILDERS, ModelSettings, build_network

SIDE = 64


def network_of(architecture: str) -> EmotionClassifier:
    torch.manual_seed(0)
    settings = ModelSettings(architecture=architecture, image_size=SIDE, width=0.1)
    return build_network(settings, num_classes=4).eval()


def test_every_architecture_has_default_layers() -> None:
    assert set(DEFAULT_LAYERS) == set(BUILDERS)


@pytest.mark.parametrize("architecture", sorted(set(DEFAULT_LAYERS) - {"caption_bert"}))
@torch.no_grad()
def test_default_layers_run_once_and_in_this_order(architecture: str) -> None:
    network = network_of(architecture)
    images = torch.rand(3, 3, SIDE, SIDE)
    order: list[str] = []
    for name in DEFAULT_LAYERS[architecture]:
        module = network.get_submodule(name.removesuffix(".input"))
        if name.endswith(".input"):
            module.register_forward_pre_hook(lambda *_, name=name: order.append(name))
        else:
            module.register_forward_hook(lambda *_, name=name: order.append(name))
    found = layer_outputs(network, images, default_layers(architecture))
    assert list(found) == list(default_layers(architecture))
    pools = [name for name in order if "branches" not in name]
    assert pools == [name for name in DEFAULT_LAYERS[architecture] if "branches" not in name]
    for output in found.values():
        assert output.shape[0] == 3
        assert output.dim() == 2
    torch.testing.assert_close(found["logits"], network(images))


@torch.no_grad()
def test_in_place_layers_do_not_overwrite_what_was_seen() -> None:
    network = network_of("emotion_net")
    assert isinstance(network, EmotionNet)
    images = torch.rand(2, 3, SIDE, SIDE)
    found = layer_outputs(network, images, ["features.0", "classifier.0", "classifier.0.input"])
    first = network.features[0](images)
    assert (first < 0).any()  # the ReLU that follows works in place
    torch.testing.assert_close(found["features.0"], first.flatten(1))
    joined = network.embed(images).flatten(1)
    torch.testing.assert_close(found["classifier.0.input"], joined)
    torch.testing.assert_close(found["classifier.0"], network.classifier[0](joined))
    assert (found["classifier.0"] < 0).any()


@torch.no_grad()
def test_the_paper_s_network_has_its_sizes_at_224() -> None:
    with torch.device("meta"):
        network = build_network(ModelSettings(), num_classes=4).eval()
        images = torch.zeros(1, 3, 224, 224)
    sizes = [
        output.shape[1]
        for output in layer_outputs(network, images, default_layers("emotion_net")).values()
    ]
    pools, branches = [802_816, 401_408, 200_704, 100_352, 25_088], [25_088] * 4
    assert sizes == [*pools, *branches, 125_440, 2048, 2048, 4]


@torch.no_grad()
def test_padding_of_captions_does_not_count() -> None:
    pytest.importorskip("transformers")
    network = network_of("caption_bert")
    short, long = torch.tensor([[101, 7, 9, 102]]), torch.tensor([[101, 7, 9, 102, 0, 0, 0]])
    names = default_layers("caption_bert")
    first, second = (layer_outputs(network, tokens, names) for tokens in (short, long))
    for name in names:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5)
        assert first[name].shape[1] == (4 if name == "logits" else first[names[0]].shape[1])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("features.99", "is not one of the network's"),
        ("features.30.inputs", "is not one of the network's"),
        ("features", "runs 0 times in a forward pass"),
    ],
)
def test_layers_that_have_no_output_are_refused(layer: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        layer_outputs(network_of("emotion_net"), torch.rand(2, 3, SIDE, SIDE), [layer])


def test_after_an_error_no_hook_is_left() -> None:
    network = network_of("emotion_net")
    with pytest.raises(SettingsError):
        layer_outputs(network, torch.rand(2, 3, SIDE, SIDE), ["features.4", "nothing"])
    assert not network.get_submodule("features.4")._forward_hooks
