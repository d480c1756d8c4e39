"""The scale of new layers at a run's first start."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support.runs import SIZE, local_streams, run, tiny_settings

from ier_ray.emotions import FOUR
from ier_ray.models import ModelSettings, build_network
from ier_ray.training.checkpoint import load_checkpoint
from ier_ray.training.context import LocalContext
from ier_ray.training.initialization import (
    LOGIT_RMS,
    initialize_new_layers,
    scale_chain,
    scale_new_layers,
)
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import TrainState, start
from ier_ray.training.trunk_cache import equal_trunks

EVEN_GUESSES = math.log(4)
NETWORKS = {
    "emotion_net": {"architecture": "emotion_net", "image_size": SIZE, "width": 0.1},
    "resnet": {"architecture": "resnet", "image_size": SIZE, "width": 0.1},
}


def pretrained_file(path: Path, model: dict[str, object], scale: float = 1.0) -> str:
    """Weights of the architecture's trunk, made for inputs and activations of another scale."""
    torch.manual_seed(11)
    network = build_network(ModelSettings.model_validate(model), num_classes=7)
    weights = {name: tensor.clone() for name, tensor in network.backbone().items()}
    for name, tensor in weights.items():
        if name.startswith("features.") and name.endswith("weight"):
            tensor.mul_(scale ** (1 / 13))  # thirteen convolutions
        if name.startswith("features.") and name.endswith("bias"):
            tensor.normal_(std=min(0.1, scale))
    torch.save(weights, path)
    return str(path)


def started(settings: TrainSettings, shards: dict[str, str], directory: Path) -> TrainState:
    context = LocalContext(directory)
    state = start(settings, FOUR, context)
    state.wrapped.train()
    batches = [next(local_streams(shards, batch_size=settings.optimizer.batch_size).train(0))]
    initialize_new_layers(state.model, settings, batches, context)
    return state


@pytest.mark.parametrize(
    ("model", "scale"),
    [
        ("emotion_net", None),
        ("emotion_net", 1.0),
        ("emotion_net", 50.0),
        ("emotion_net", 1e5),
        ("emotion_net", 1e-5),
        ("resnet", None),
        ("resnet", 1.0),
    ],
)
def test_training_starts_near_the_loss_of_even_guesses(
    model: str, scale: float | None, shards: dict[str, str], tmp_path: Path
) -> None:
    schedule = {}
    if scale is not None:
        schedule["pretrained"] = pretrained_file(tmp_path / "trunk.pth", NETWORKS[model], scale)
    settings = tiny_settings(
        shards, tmp_path, model=NETWORKS[model], schedule=schedule, optimizer__batch_size=16
    )
    state = started(settings, shards, tmp_path / "run")
    assert equal_trunks(state.model) is (scale is not None)
    for joint in list(local_streams(shards, batch_size=16).train(0))[:3]:
        for domain in ("fer", "ier"):
            batch = getattr(joint, domain)
            inputs = settings.preprocessing.inputs(batch.images)
            loss = F.cross_entropy(getattr(state.model, domain)(inputs), batch.labels)
            assert loss < 1.1 * EVEN_GUESSES


def test_without_scaling_a_strange_trunk_starts_far_above(
    shards: dict[str, str], tmp_path: Path
) -> None:
    source = pretrained_file(tmp_path / "trunk.pth", NETWORKS["emotion_net"], 1e5)
    schedule = {"pretrained": source, "scale_new_layers": False}
    settings = tiny_settings(shards, tmp_path, model=NETWORKS["emotion_net"], schedule=schedule)
    state = started(settings, shards, tmp_path / "run")
    batch = next(local_streams(shards).train(0)).ier
    logits = state.model.ier(settings.preprocessing.inputs(batch.images))
    assert F.cross_entropy(logits, batch.labels) > 10 * EVEN_GUESSES


def test_new_layers_have_centered_outputs_of_unit_variance_and_the_trunk_is_kept() -> None:
    torch.manual_seed(0)
    network = build_network(ModelSettings.model_validate(NETWORKS["emotion_net"]), num_classes=4)
    network = network.double().eval()
    trunk = {name: tensor.clone() for name, tensor in network.backbone().items()}
    inputs = 300 * torch.randn(12, 3, SIZE, SIZE, dtype=torch.float64)
    scale_new_layers(network, inputs)
    outputs: dict[str, torch.Tensor] = {}
    for name, layer in network.named_modules():
        if name.startswith(("branches", "classifier")) and hasattr(layer, "weight"):
            layer.register_forward_hook(
                lambda _, __, output, name=name: outputs.update({name: output.detach().clone()})
            )
    logits = network(inputs)
    assert len(outputs) == 7
    *hidden, (last, _) = outputs.items()
    for name, output in hidden:
        units = output.transpose(0, 1).flatten(1)
        torch.testing.assert_close(
            units.mean(1), torch.zeros(len(units)).double(), atol=1e-6, rtol=0, msg=name
        )
        assert units.var(1, correction=0).mean().item() == pytest.approx(1, rel=1e-3), name
    assert last == "classifier.6"
    assert logits.square().mean().sqrt().item() == pytest.approx(LOGIT_RMS, rel=1e-3)
    for name, tensor in network.backbone().items():
        assert torch.equal(tensor, trunk[name])


@pytest.mark.parametrize("architecture", ["emotion_net", "vgg16", "alexnet"])
def test_a_scaled_chain_computes_the_same_up_to_a_factor(architecture: str) -> None:
    model = {"architecture": architecture, "image_size": 64, "width": 0.1}
    torch.manual_seed(0)
    network = build_network(ModelSettings.model_validate(model), num_classes=4).double().eval()
    chain = network.pretrained_chain()
    for layer in chain:
        torch.nn.init.normal_(layer.get_parameter("bias"))
    inputs = 100 * torch.randn(3, 3, 64, 64, dtype=torch.float64)
    seen: list[torch.Tensor] = []
    for layer in chain:
        layer.register_forward_hook(lambda _, __, output: seen.append(output.detach().clone()))
    network(inputs)
    before, seen[:] = list(seen), []
    scale_chain(network, chain, inputs)
    seen.clear()
    network(inputs)
    assert len(seen) == len(before) == len(chain)
    for old, new in zip(before, seen, strict=True):
        assert new.square().mean().sqrt().item() == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(new, old / old.square().mean().sqrt(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("scale", "warned"), [(1.0, False), (1e5, True), (1e-5, True)])
def test_weights_for_other_inputs_are_named(
    scale: float,
    warned: bool,
    shards: dict[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = pretrained_file(tmp_path / "trunk.pth", NETWORKS["emotion_net"], scale)
    settings = tiny_settings(
        shards, tmp_path, model=NETWORKS["emotion_net"], schedule={"pretrained": source}
    )
    with caplog.at_level(logging.WARNING, "ier_ray"):
        started(settings, shards, tmp_path / "run")
    lines = [r.getMessage() for r in caplog.records]
    assert len(lines) == int(warned)
    for line in lines:
        assert source in line
        assert "another normalization than data.normalization per_image" in line


def test_non_finite_weights_are_named_and_left(
    shards: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = pretrained_file(tmp_path / "trunk.pth", NETWORKS["emotion_net"], math.inf)
    settings = tiny_settings(
        shards, tmp_path, model=NETWORKS["emotion_net"], schedule={"pretrained": source}
    )
    with caplog.at_level(logging.WARNING, "ier_ray"):
        started(settings, shards, tmp_path / "run")
    assert "root mean square of nan" in caplog.text
    assert "They stay as they are" in caplog.text


def test_the_same_seed_gives_the_same_weights_and_a_copy_of_fer_remains_one(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(shards, tmp_path, schedule={"ier_start": "fer"})
    first, second = (started(settings, shards, tmp_path / name).model for name in "ab")
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    for name, tensor in first.fer.state_dict().items():
        assert torch.equal(tensor, first.ier.state_dict()[name])


def test_running_statistics_modes_and_trained_weights_stay(
    shards: dict[str, str], tmp_path: Path
) -> None:
    plain = tiny_settings(shards, tmp_path, model=NETWORKS["resnet"], schedule={"epochs": 1})
    fresh = start(plain, FOUR, LocalContext(tmp_path / "fresh")).model
    scaled = started(plain, shards, tmp_path / "scaled").model
    assert all(module.training for module in scaled.modules())
    for (name, found), expected in zip(scaled.named_buffers(), fresh.buffers(), strict=True):
        assert torch.equal(found, expected), name
    run(plain, shards, tmp_path / "source")
    transfer = plain.model_copy(
        update={
            "schedule": plain.schedule.model_copy(
                update={"fer_checkpoint": f"{tmp_path}/source/last", "ier_start": "fer"}
            )
        }
    )
    trained = load_checkpoint(f"{tmp_path}/source/last")[0].fer.state_dict()
    moved = started(transfer, shards, tmp_path / "transfer").model
    for name, tensor in trained.items():
        assert torch.equal(moved.fer.state_dict()[name], tensor)
        assert torch.equal(moved.ier.state_dict()[name], tensor)


def test_a_strange_trunk_beside_a_trained_network_stays_as_it_is(
    shards: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a trunk that both networks share would become two."""
    model = NETWORKS["emotion_net"]
    source = pretrained_file(tmp_path / "trunk.pth", model, 1e5)
    run(tiny_settings(shards, tmp_path, model=model, schedule={"epochs": 1}), shards, tmp_path)
    schedule = {"pretrained": source, "fer_checkpoint": f"{tmp_path}/last"}
    settings = tiny_settings(shards, tmp_path, model=model, schedule=schedule)
    with caplog.at_level(logging.WARNING, "ier_ray"):
        found = started(settings, shards, tmp_path / "run").model.ier.backbone()
    assert "They stay as they are" in caplog.text
    for name, tensor in torch.load(source).items():
        assert torch.equal(found[name], tensor)
