from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import vgg16

from ier_ray.errors import CheckpointError
from ier_ray.losses import DISCREPANCIES, DiscrepancyMode, JointLoss
from ier_ray.models import EmotionNet, JointModel, ModelSettings, build_joint_model, build_network
from ier_ray.models.joint import last_dense
from ier_ray.models.registry import Architecture
from ier_ray.models.weights import load_pretrained


@pytest.fixture(scope="module")
def exact() -> EmotionNet:
    """The paper's network without its memory: shapes are computed, values are not."""
    with torch.device("meta"):
        return EmotionNet(num_classes=4)


def test_trunk_has_the_keys_and_shapes_of_torchvisions_vgg16(exact: EmotionNet) -> None:
    with torch.device("meta"):
        reference = vgg16().features.state_dict()
    found = exact.features.state_dict()
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in reference.items()}


def test_parameter_count_by_hand(exact: EmotionNet) -> None:
    convolutions = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
    convolutions += [(256, 512)] + [(512, 512)] * 5
    convolutions += [(64, 512), (128, 512), (256, 512), (512, 512)]  # R1-R4
    dense = [(2560 * 7 * 7, 2048), (2048, 2048), (2048, 4)]
    expected = sum(9 * i * o + o for i, o in convolutions) + sum(i * o + o for i, o in dense)
    assert sum(p.numel() for p in exact.parameters()) == expected
    assert 275e6 < expected < 285e6


def test_shapes_layer_by_layer(exact: EmotionNet) -> None:
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            shapes[name] = tuple(output.shape)

        return hook

    pools = [m for m in exact.features if isinstance(m, nn.MaxPool2d)]
    for number, pool in enumerate(pools, start=1):
        pool.register_forward_hook(record(f"B{number}"))
    for number, branch in enumerate(exact.branches, start=1):
        branch.register_forward_hook(record(f"R{number}"))
    for number, layer in enumerate(m for m in exact.classifier if isinstance(m, nn.Linear)):
        layer.register_forward_hook(record(f"dense{number}"))
    images = torch.empty(2, 3, 224, 224, device="meta")
    assert exact.embed(images).shape == (2, 2560, 7, 7)
    exact(images)
    assert shapes == {
        "B1": (2, 64, 112, 112),
        "B2": (2, 128, 56, 56),
        "B3": (2, 256, 28, 28),
        "B4": (2, 512, 14, 14),
        "B5": (2, 512, 7, 7),
        **{f"R{number}": (2, 512, 7, 7) for number in range(1, 5)},
        "dense0": (2, 2048),
        "dense1": (2, 2048),
        "dense2": (2, 4),
    }


def test_branches_come_before_the_last_block() -> None:
    network = EmotionNet(num_classes=3, image_size=64, width=0.05).eval()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network.embed(images)[:, -26:], network.features(images))
    pools = [
        sum(isinstance(m, nn.MaxPool2d) for m in branch.children()) for branch in network.branches
    ]
    assert pools == [4, 3, 2, 1]


def test_image_size_must_fit_the_pools() -> None:
    with pytest.raises(ValueError, match="multiple of 32, got 100"):
        EmotionNet(num_classes=4, image_size=100)


def test_signal_survives_thirteen_layers_of_initialization() -> None:
    torch.manual_seed(0)
    network = EmotionNet(num_classes=4, image_size=64, width=0.25)
    deep = network.features(torch.randn(8, 3, 64, 64))
    assert 0.1 < deep.std() < 10


def tiny_joint() -> JointModel:
    torch.manual_seed(1)
    return build_joint_model(ModelSettings(image_size=32, width=0.02), num_classes=4)


def test_joint_forward_is_the_networks_on_their_domains() -> None:
    model = tiny_joint().eval()
    fer, ier = torch.randn(3, 3, 32, 32), torch.randn(5, 3, 32, 32)
    outputs = model(fer, ier)
    torch.testing.assert_close(outputs.fer, model.fer(fer))
    torch.testing.assert_close(outputs.ier, model.ier(ier))
    torch.testing.assert_close(outputs.compared, (outputs.fer, outputs.ier))
    assert outputs.ier_on_fer is None
    crossed = model(fer, ier, compared="cross", ier_on_fer=True)
    torch.testing.assert_close(crossed.fer, model.fer(fer))
    torch.testing.assert_close(crossed.ier, model.ier(ier))
    torch.testing.assert_close(crossed.compared, (model.fer(ier), model.ier(ier)))
    torch.testing.assert_close(crossed.ier_on_fer, model.ier(fer))
    assert len(model.dense_weights()) == 6
    assert all(weight.dim() == 2 for weight in model.dense_weights())


def test_features_are_what_the_last_dense_layer_sees() -> None:
    model = tiny_joint().eval()
    fer, ier = torch.randn(3, 3, 32, 32), torch.randn(5, 3, 32, 32)
    outputs = model(fer, ier, compared="features", ier_on_fer=True)
    assert isinstance(model.ier, EmotionNet)
    assert isinstance(model.fer, EmotionNet)
    hidden = model.ier.classifier[:-1](model.ier.embed(ier).flatten(1))
    torch.testing.assert_close(outputs.compared[1], hidden)
    torch.testing.assert_close(model.fer.classifier[-1](outputs.compared[0]), model.fer(fer))
    torch.testing.assert_close(outputs.ier_on_fer, model.ier(fer))
    assert not model.fer.classifier[-1]._forward_pre_hooks  # nothing stays behind


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_every_architectures_last_dense_weight_gives_its_logits(architecture: Architecture) -> None:
    with torch.device("meta"):
        network = build_network(ModelSettings(architecture=architecture), num_classes=5)
    assert last_dense(network).out_features == 5


def test_hidden_features_of_both_networks_are_of_the_ier_images() -> None:
    model = tiny_joint().eval()
    fer, ier = torch.randn(2, 3, 32, 32), torch.randn(4, 3, 32, 32)
    outputs = model(fer, ier, compared="cross_features")
    torch.testing.assert_close(outputs.fer, model.fer(fer))
    for network, features in zip((model.fer, model.ier), outputs.compared, strict=True):
        torch.testing.assert_close(last_dense(network)(features), network(ier))


def test_contested_heads_climb_where_trunks_descend() -> None:
    """Against plain descent of the same value: the heads' gradients are reversed, no others."""
    model = tiny_joint().double()
    fer, ier = torch.randn(2, 3, 32, 32).double(), torch.randn(4, 3, 32, 32).double()
    labels = torch.zeros(2, dtype=torch.long), torch.zeros(4, dtype=torch.long)
    gradients, values = {}, {}
    modes: tuple[DiscrepancyMode, ...] = ("same_image", "mcd")
    for mode in modes:
        outputs = model(fer, ier, compared=JointLoss(mode=mode).compared)
        apart = DISCREPANCIES[mode](outputs.compared, *labels)
        gradients[mode] = torch.autograd.grad(apart, list(model.parameters()))
        values[mode] = apart.item()
    assert values["mcd"] == pytest.approx(values["same_image"], abs=1e-12)
    names = [name for name, _ in model.named_parameters()]
    for name, plain, contested in zip(names, *gradients.values(), strict=True):
        sign = -1 if name.split(".", 1)[1].startswith("classifier.6") else 1
        assert plain.abs().max() > 0
        torch.testing.assert_close(contested, sign * plain, msg=name)


def test_the_discriminator_judges_features_and_turns_their_gradient() -> None:
    model = tiny_joint()
    model.add_discriminator()
    fer, ier = torch.randn(3, 3, 32, 32), torch.randn(5, 3, 32, 32)
    seen = model(fer, ier, compared="features").compared
    judged = model(fer, ier, compared="domains").compared
    torch.testing.assert_close(judged[0], model.discriminator(seen[0]))
    torch.testing.assert_close(judged[1], model.discriminator(seen[1]))
    for network, features, logits in zip((model.fer, model.ier), seen, judged, strict=True):
        weight = network.get_parameter("features.0.weight")
        (turned,) = torch.autograd.grad(logits.sum(), weight)
        (plain,) = torch.autograd.grad(model.discriminator(features).sum(), weight)
        assert plain.abs().max() > 0
        torch.testing.assert_close(turned, -plain)


def test_the_two_networks_start_apart() -> None:
    model = tiny_joint()
    first = "features.0.weight"
    assert not torch.equal(model.fer.get_parameter(first), model.ier.get_parameter(first))


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_trunk_loads_from_a_file(tmp_path: Path, kind: str) -> None:
    source = EmotionNet(num_classes=2, image_size=32, width=0.02)
    state = {f"features.{name}": tensor for name, tensor in source.features.state_dict().items()}
    state["classifier.0.weight"] = torch.zeros(2, 2)
    file = tmp_path / f"vgg.{kind}"
    if kind == "pth":
        torch.save(state, file)
    else:
        safetensors.torch.save_file(state, file)
    network = EmotionNet(num_classes=4, image_size=32, width=0.02)
    load_pretrained([network], str(file))
    for name, tensor in network.features.state_dict().items():
        torch.testing.assert_close(tensor, source.features.state_dict()[name], rtol=0, atol=0)


def test_misfit_trunks_are_named(tmp_path: Path) -> None:
    network = EmotionNet(num_classes=4, image_size=32, width=0.02)
    state = {f"features.{name}": tensor for name, tensor in network.features.state_dict().items()}
    state["features.0.weight"] = torch.zeros(64, 3, 3, 3)
    state["features.99.bias"] = state.pop("features.2.bias")
    torch.save(state, tmp_path / "vgg.pth")
    with pytest.raises(CheckpointError) as caught:
        load_pretrained([network], str(tmp_path / "vgg.pth"))
    message = str(caught.value)
    assert "features.2.bias is missing" in message
    assert "features.99.bias is unexpected" in message
    assert "features.0.weight has shape (64, 3, 3, 3), the network needs (1, 3, 3, 3)" in message


def test_what_is_not_weights_is_refused(tmp_path: Path) -> None:
    network = EmotionNet(num_classes=4, image_size=32, width=0.02)
    for name in ("bad.pth", "bad.safetensors"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(CheckpointError, match=f"{name}: not a"):
            load_pretrained([network], str(tmp_path / name))
    with pytest.raises(CheckpointError, match="neither a torchvision weight name"):
        load_pretrained([network], "VGG99_Weights.DEFAULT")
