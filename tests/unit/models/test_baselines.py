from __future__ import annotations

import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision import models as published

from ier_ray.command_line import from_command_line
from ier_ray.config import parse_settings
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.synthetic import draw_face, draw_scene
from ier_ray.data.synthetic.canvas import Drawing
from ier_ray.emotions import FOUR
from ier_ray.errors import CheckpointError, SettingsError
from ier_ray.losses import JointLoss
from ier_ray.models import ModelSettings, build_joint_model, build_network
from ier_ray.models.baselines import BaselineNetwork
from ier_ray.models.deep_emotion import DeepEmotion
from ier_ray.models.registry import Architecture
from ier_ray.models.weights import load_pretrained
from ier_ray.training.settings import TrainSettings

BASELINES = [name for name in get_args(Architecture) if name != "emotion_net"]
LOCALIZATION_BIAS = "localization.9.bias"
"""Of the last layer of Deep-Emotion's localization network: the transform itself."""
SEEING = [name for name in BASELINES if name != "caption_bert"]
"""Those that look at images."""
PUBLISHED: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "alexnet": (published.alexnet, 3),
    "vgg16": (published.vgg16, 3),
    "resnet": (published.resnet50, 1),
    "efficientnet": (published.efficientnet_b0, 1),
    "vit": (published.vit_b_16, 1),
    "swin": (published.swin_t, 1),
}
"""Torchvision's builder, and how many dense layers its head has."""
DENSE_LAYERS = {name: count for name, (_, count) in PUBLISHED.items()} | {
    "deep_emotion": 2,
    "caption_bert": 1,
}


def build(architecture: str, **changes: object) -> BaselineNetwork:
    values = {"architecture": architecture, "image_size": 64, "width": 0.1, **changes}
    network = build_network(ModelSettings.model_validate(values), num_classes=4)
    assert isinstance(network, BaselineNetwork)
    return network


@pytest.mark.parametrize("architecture", SEEING)
def test_logits_at_two_image_sizes_and_widths(architecture: str) -> None:
    for size, width in ((64, 0.05), (96, 0.1)):
        network = build(architecture, image_size=size, width=width).eval()
        assert network(torch.randn(3, 3, size, size)).shape == (3, 4)


@pytest.mark.parametrize("architecture", BASELINES)
def test_dense_weights_are_those_of_the_head(architecture: str) -> None:
    network = build(architecture)
    weights = network.dense_weights()
    assert len(weights) == DENSE_LAYERS[architecture]
    assert len(weights[-1]) == 4
    assert all(len(after.T) == len(before) for before, after in pairwise(weights))
    weights[-1].square().sum().backward()
    touched = [name for name, value in network.named_parameters() if value.grad is not None]
    assert touched == [f"network.{network.new_layers[0]}weight"]


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_parameters_are_torchvisions_at_width_1(architecture: str) -> None:
    with torch.device("meta"):
        reference = PUBLISHED[architecture][0](num_classes=4).state_dict()
        network = build(architecture, image_size=224, width=1.0).network
    found = network.state_dict()
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in reference.items()}


def test_a_full_size_network_computes_what_torchvisions_does() -> None:
    torch.manual_seed(0)
    reference = published.efficientnet_b0(num_classes=4).eval()
    network = build("efficientnet", image_size=224, width=1.0, dropout=0.2).eval()
    network.network.load_state_dict(reference.state_dict())
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(network(images), reference(images), rtol=0, atol=0)


def test_deep_emotion_by_hand() -> None:
    """At the published 48x48 the convolutions leave 9x9 and 8x8 pixels."""
    network = DeepEmotion(num_classes=7, image_size=48, width=1.0, dropout=0.0)
    shapes = [tuple(value.shape) for value in network.parameters() if value.dim() > 1]
    assert shapes == [
        *[(8, 3, 7, 7), (10, 8, 5, 5), (32, 10 * 8 * 8), (6, 32)],
        *[(10, 3, 3, 3), (10, 10, 3, 3), (10, 10, 3, 3), (10, 10, 3, 3)],
        *[(50, 10 * 9 * 9), (7, 50)],
    ]


def test_deep_emotion_attends_to_the_whole_image_at_first() -> None:
    network = DeepEmotion(num_classes=4, image_size=64, width=1.0, dropout=0.0)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network.attend(images), images, rtol=0, atol=1e-4)


def test_deep_emotion_moves_the_image_as_its_transform_says() -> None:
    network = DeepEmotion(num_classes=4, image_size=64, width=1.0, dropout=0.0)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        network.get_parameter(LOCALIZATION_BIAS).copy_(torch.tensor([-1.0, 0, 0, 0, 1, 0]))
    torch.testing.assert_close(network.attend(images), images.flip(3), rtol=0, atol=1e-4)


def test_gradients_reach_the_localization_network() -> None:
    torch.manual_seed(0)
    network = DeepEmotion(num_classes=4, image_size=64, width=1.0, dropout=0.0)
    images, labels = torch.randn(8, 3, 64, 64), torch.arange(8) % 4
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(2):  # the last layer's zeros hide the others in the first step
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        assert gradient_size(network.get_parameter(LOCALIZATION_BIAS)) > 0
        optimizer.step()
    assert all(gradient_size(value) > 0 for value in network.localization.parameters())


def gradient_size(value: nn.Parameter) -> float:
    assert value.grad is not None
    return float(value.grad.abs().sum())


OVERFIT: dict[str, tuple[float, int, float]] = {
    "alexnet": (0.1, 64, 1e-3),
    "vgg16": (0.1, 32, 1e-3),
    "resnet": (0.05, 32, 3e-3),
    "deep_emotion": (1.0, 32, 3e-3),
    "efficientnet": (0.1, 64, 1e-2),
    "vit": (0.1, 32, 1e-3),
    "swin": (0.1, 32, 1e-3),
}
"""Width, image size and learning rate."""
IMAGES, BATCH, MAX_STEPS, STEPS_PER_CHECK = 32, 16, 200, 10


@pytest.mark.parametrize("architecture", SEEING)
def test_joint_training_overfits_32_images(architecture: str) -> None:
    """Batch normalization's running statistics follow sooner here than by default."""
    torch.manual_seed(0)
    width, size, learning_rate = OVERFIT[architecture]
    settings = ModelSettings(architecture=architecture, image_size=size, width=width)
    model = build_joint_model(settings, num_classes=4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    faces, scenes = drawings(draw_face, size), drawings(draw_scene, size)
    labels = torch.arange(IMAGES) % 4
    loss = JointLoss(balance=1.0, regularization=1e-5)
    accuracies = []
    for step in range(MAX_STEPS):
        model.train()
        fer, ier = (torch.randperm(IMAGES)[:BATCH] for _ in range(2))
        outputs = model(faces[fer], scenes[ier], compared=loss.compared)
        parts = loss(outputs, labels[fer], labels[ier], model.dense_weights())
        optimizer.zero_grad()
        parts.total.backward()
        optimizer.step()
        if (step + 1) % STEPS_PER_CHECK == 0:
            pairs = ((model.fer, faces), (model.ier, scenes))
            accuracies = [accuracy(network, images, labels) for network, images in pairs]
            if min(accuracies) >= 0.95:
                break
    assert min(accuracies) >= 0.95


def drawings(draw: Callable[..., Drawing], size: int) -> Tensor:
    images = [draw(FOUR.classes[seed % 4], size=size, seed=seed).image for seed in range(IMAGES)]
    return Preprocessing(size).inputs(torch.as_tensor(np.stack(images)))


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    return float((network.eval()(images).argmax(1) == labels).double().mean())


@pytest.mark.parametrize("architecture", BASELINES)
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_backbones_load_from_a_file(tmp_path: Path, architecture: str, kind: str) -> None:
    """The file has another number of classes, as published weights do."""
    settings = ModelSettings(architecture=architecture, image_size=64, width=0.05)
    source = build_network(settings, num_classes=10).get_submodule("network")
    file = str(tmp_path / f"weights.{kind}")
    {"pth": torch.save, "safetensors": safetensors.torch.save_file}[kind](source.state_dict(), file)
    model = build_joint_model(settings, num_classes=4, pretrained=file)
    for network in (model.fer, model.ier):
        loaded = network.get_submodule("network").state_dict()
        own = {name for name in loaded if name.startswith(network.new_layers)}
        assert len(own) == 2
        for name in loaded.keys() - own:
            assert torch.equal(loaded[name], source.state_dict()[name])
        assert all(len(loaded[name]) == 4 for name in own)
    heads = [network.dense_weights()[-1] for network in (model.fer, model.ier)]
    assert architecture == "vit" or not torch.equal(*heads)  # torchvision's ViT has a head of 0


def test_misfit_backbones_are_named_and_change_nothing(tmp_path: Path) -> None:
    network = build("resnet")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in network.network.state_dict().items()}
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    state["layer9.weight"] = state.pop("bn1.bias")
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError) as caught:
        load_pretrained([network], str(tmp_path / "odd.pth"))
    message = str(caught.value)
    assert "bn1.bias is missing" in message
    assert "layer9.weight is unexpected" in message
    assert "conv1.weight has shape (64, 1, 7, 7), the network needs (64, 3, 7, 7)" in message
    assert "model.architecture" in message
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"conv1.weight": torch.zeros(1)}}, "'model' is a dict, not a tensor; save the"),
        ([1, 2], "not a file of tensors"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=message):
        load_pretrained([build("resnet")], str(tmp_path / "odd.pth"))


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setattr(urllib.request, "_opener", None)  # made anew, it reads the variable
    with pytest.raises(CheckpointError, match=r"cannot be downloaded .* give its path instead"):
        load_pretrained([build("resnet")], "ResNet50_Weights.IMAGENET1K_V2")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"architecture": "alexnet", "image_size": 32},
            "model.image_size: alexnet needs at least 64, got 32",
        ),
        (
            {"architecture": "resnet", "dropout": 0.5},
            "model.dropout: resnet has no hidden dense layer; leave it at 0, got 0.5",
        ),
        ({"architecture": "lenet"}, "model.architecture must be 'emotion_net', 'alexnet',"),
    ],
)
def test_settings_a_network_cannot_have_are_refused(model: dict[str, object], message: str) -> None:
    values = {"data": {"fer": "a", "ier": "b"}, "model": model}
    with pytest.raises(SettingsError) as caught:
        parse_settings(TrainSettings, values, source="x")
    assert message in str(caught.value)


def test_help_teaches_every_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        from_command_line(TrainSettings, ["--help"], program="train", purpose="x")
    text = " ".join(capsys.readouterr().out.split())
    described = text.split("Name of the network:")[1].split("[default")[0]
    assert all(name in described for name in BASELINES)


def test_settings_of_older_checkpoints_still_load() -> None:
    older = {"architecture": "emotion_net", "image_size": 32, "width": 0.02, "dropout": 0.0}
    assert ModelSettings.model_validate(older) == ModelSettings(image_size=32, width=0.02)
